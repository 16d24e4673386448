"""One tool on one graph: its place, what is edited there, and how each build is judged."""

from __future__ import annotations

import os
import subprocess
import time

from .layered import LEAF, SOURCE, Layered, number
from .place import Place
from .process import Process
from .results import Cell
from .tools import Tool

EDITS = ("noop", "touched", "leaf", "cutoff", "changed", "back")
"""Builds that follow each other in one place, in this order."""
SCENARIOS = ("cold", *EDITS, "killed")


def expected(graph: Layered, jobs: int) -> dict[str, int]:
    """The fewest actions that each scenario can do with. When a build is killed, what ran beside the held action may
    have ended without a record yet."""
    below = len(graph.below(graph.tuned.name))
    once = {"noop": 0, "touched": 0, "leaf": 1, "cutoff": 1, "changed": below, "back": 0}
    return {"cold": len(graph.nodes), **once, "killed": jobs - 1}


class Trial:
    """``cells``: by scenario. ``stopped``: it took too long or failed, so what follows would not be its next build.
    ``beyond``: scenarios that took too long on a smaller graph, which are not tried."""

    def __init__(
        self, tool: Tool, place: Place, graph: Layered, limit: float, beyond: frozenset[str] = frozenset()
    ) -> None:
        self.tool, self.place, self.limit = tool, place, limit
        self.graph = self._original = graph
        self.cells: dict[str, Cell] = {}
        self.stopped = False
        self.beyond = beyond
        self._ended = 0.0

    def fresh(self) -> None:
        self.place.clear()
        self.graph = self._original
        self.tool.prepare(self.place)
        self.tool.write(self.place, self.graph)

    def measure(self, scenario: str, turn: int) -> Cell:
        """Edit and build. ``turn``: how often this scenario was measured before."""
        cell = self.cells.setdefault(scenario, Cell())
        try:
            self._measure(scenario, turn, cell)
        except subprocess.CalledProcessError as error:
            cell.failure, self.stopped = f"{' '.join(error.cmd)}: exit {error.returncode}", True
        return cell

    def _measure(self, scenario: str, turn: int, cell: Cell) -> None:
        if scenario in self.beyond:
            cell.over = self.stopped = True
        elif scenario == "cold":
            self.fresh()
            self.build(cell)
        elif scenario == "killed":
            self._kill(cell)
        else:
            self._edit(scenario, turn)
            self.build(cell)
        if scenario == "cold" and cell.over:
            self.fresh()
            self.stopped = not self.tool.fill(self.place)
            self.place.drain()

    def can(self, scenario: str) -> bool:
        """A killed build starts in a fresh place, so it only needs a cold build that does not take too long."""
        if scenario == "killed":
            return not (self.cells["cold"].over or self.cells["cold"].failure)
        return not self.stopped

    def seconds(self, *scenarios: str) -> float:
        """Of the first round."""
        return sum(self.cells[each].seconds[0] for each in scenarios if each in self.cells and self.cells[each].seconds)

    def _edit(self, scenario: str, turn: int) -> None:
        if self.tool.coarse_clock and scenario != "noop":
            time.sleep(max(0.0, int(self._ended) + 1.01 - time.time()))
        project = self.place.project
        if scenario == "touched":
            os.utime(project / SOURCE)
        elif scenario == "leaf":
            (project / LEAF).write_text(f"{2 + turn}\n")
        elif scenario == "cutoff":
            (project / SOURCE).write_text(f"{121 + turn % 9}\n")
        elif scenario == "changed":
            self.graph = self._original.salted(self._original.tuned.name, 1_000_000 + turn)
            self.tool.write(self.place, self.graph)
        elif scenario == "back":
            self.graph = self._original
            self.tool.write(self.place, self.graph)

    def build(self, cell: Cell) -> None:
        process = Process(self.tool.words(), self.place)
        ended = process.wait(self.limit)
        status = ended.status
        self._ended = time.time()
        ran = self.place.drain()
        if status is None:
            cell.over, self.stopped = not cell.seconds, True
            return
        if status:
            cell.failure, self.stopped = f"exit {status}: {process.said()}", True
        cell.seconds.append(ended.seconds)
        cell.cpu.append(ended.cpu)
        cell.ran.append(ran.total())
        cell.wrong = max(cell.wrong, len(self.wrong()))

    def wrong(self) -> list[str]:
        """Nodes whose output is not what the graph's own arithmetic says."""
        right = self.graph.values({name: number(self.place.project / name) or 0 for name in (SOURCE, LEAF)})
        found = {node.name: number(self.tool.output(self.place, node)) for node in self.graph.nodes}
        return [name for name, value in found.items() if value != right[name]]

    def _kill(self, cell: Cell) -> None:
        """Kill a first build while its middle action runs, then build."""
        self.fresh()
        hold = self.place.hold(self.graph.held)
        hold.touch()
        first = Process(self.tool.words(), self.place)
        if not first.kill_once(self.place.held.exists, self.limit):
            cell.over = self.stopped = True
            return
        hold.unlink()
        finished = self.place.drain()
        began = time.perf_counter()
        status = self._after_kill(cell)
        if status is None:
            cell.over = self.stopped = True
            return
        ran = self.place.drain()
        cell.seconds.append(time.perf_counter() - began)
        cell.ran.append(ran.total())
        cell.finished, cell.twice = len(finished), sum(name in finished for name in ran.elements())
        cell.wrong = len(self.wrong())

    def _after_kill(self, cell: Cell) -> int | None:
        """Build as before, or as the tool's pages say where it refuses to; the exit status."""
        process = Process(self.tool.words(), self.place)
        status = process.wait(self.limit).status
        cell.refused = bool(status and self.tool.remedy)
        for word in self.tool.remedy if cell.refused else ():
            process = Process([*self.tool.words(), word], self.place)
            status = process.wait(self.limit).status
        if status:
            cell.failure, self.stopped = f"exit {status}: {process.said()}", True
        return status
