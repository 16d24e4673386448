"""All tools on all graphs, in turns: A B C, A B C, so that a busy machine is busy for all of them alike."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .layered import Layered
from .place import Place, places
from .process import Ended, Process
from .results import Results, Tooling
from .tools import Tool
from .trial import EDITS, Trial, expected

Say = Callable[[str], None]
LIMIT = 60.0  # seconds for a Python that does nothing


def measured(
    tools: Sequence[Tool],
    sizes: Sequence[int],
    *,
    limit: float,
    rounds: int,
    again: float,
    scratch: Path | None,
    say: Say,
    within: float = float("inf"),
    keep: Callable[[Results], None] = lambda results: None,
) -> Results:
    """``again``: a tool whose first round of edits takes longer than these seconds has one round, and no second cold
    build. What takes longer than ``limit`` is not tried at larger sizes. ``within``: seconds after which nothing more
    is begun. ``keep``: called after each size."""
    deadline = time.monotonic() + within
    results = Results(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        load=[_load()],
        limit=limit,
        jobs=tools[0].jobs,
        tools={tool.name: _tooling(tool) for tool in tools},
    )
    present = [tool for tool in tools if tool.program]
    beyond: dict[str, set[str]] = {tool.name: set() for tool in present}
    with places(scratch) as (roots, notes):
        idle = Place(roots / "python", notes / "python")
        idle.clear()
        for size in sorted(sizes):
            graph = Layered.of(size)
            trials = [
                Trial(tool, Place(roots / tool.name, notes / tool.name), graph, limit, frozenset(beyond[tool.name]))
                for tool in present
            ]
            turns = Turns(trials, size, say, idle, deadline)
            turns.all(rounds, again)
            if not turns.bare:
                break
            results.bare[size] = statistics.median(each.seconds for each in turns.bare)
            results.bare_cpu[size] = statistics.median(each.cpu for each in turns.bare)
            results.cells[size] = {trial.tool.name: trial.cells for trial in trials}
            results.expected[size] = expected(graph, results.jobs)
            results.load = [results.load[0], _load()]
            keep(results)
            for trial in trials:
                beyond[trial.tool.name] |= {name for name, cell in trial.cells.items() if cell.over}
    return results


def _load() -> float:
    return round(os.getloadavg()[0], 1)


def _tooling(tool: Tool) -> Tooling:
    if tool.program is None:
        return Tooling(absent=tool.absent())
    return Tooling(version=tool.version(), mode=tool.mode, notes=tool.notes, remedy=" ".join(tool.remedy))


class Turns:
    """The rounds at one size. ``bare``: what a Python took that does nothing, one before each turn, in the
    place ``idle``. ``deadline``: of the monotonic clock."""

    def __init__(self, trials: Sequence[Trial], size: int, say: Say, idle: Place, deadline: float) -> None:
        self.trials, self.size, self.say, self.idle, self.deadline = trials, size, say, idle, deadline
        self.bare: list[Ended] = []

    def all(self, rounds: int, again: float) -> None:
        self.turn("cold", 0, self.trials)
        for number in range(rounds):
            chosen = [trial for trial in self.trials if number == 0 or trial.seconds(*EDITS) < again]
            for scenario in EDITS:
                self.turn(scenario, number, chosen)
        for number in range(1, rounds):
            self.turn("cold", number, [trial for trial in self.trials if trial.seconds("cold") < again])
        self.turn("killed", 0, self.trials)

    def turn(self, scenario: str, number: int, trials: Sequence[Trial]) -> None:
        if time.monotonic() < self.deadline:
            self.bare.append(Process([sys.executable, "-c", "pass"], self.idle).wait(LIMIT))
        for trial in trials:
            if time.monotonic() >= self.deadline:
                self.say(f"{self.size:6} {scenario:8} {trial.tool.name:10} left out: the time is over")
                return
            if not trial.can(scenario):
                continue
            began = time.perf_counter()
            cell = trial.measure(scenario, number)
            took = f"{cell.seconds[-1]:8.3f} s, {cell.ran[-1]} ran" if cell.seconds and not cell.over else "stopped"
            wrong = f", {cell.wrong} wrong" if cell.wrong else ""
            spent = time.perf_counter() - began
            self.say(f"{self.size:6} {scenario:8} {trial.tool.name:10} {took}{wrong}{cell.failure} [{spent:.1f} s]")
