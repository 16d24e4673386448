"""What was measured, as it is kept in a JSON file."""

from __future__ import annotations

import statistics
from pathlib import Path

import msgspec


class Cell(msgspec.Struct, omit_defaults=True):
    """One scenario of one tool at one size. ``cpu``: seconds of the processor, of all its processes; none of a killed
    build. ``ran``: actions in each round. ``wrong``: outputs with wrong content, the
    most of any round. ``over``: it took longer than the limit. ``failure``: what it said when it failed. ``finished``,
    ``twice``: of a killed build, actions that had ended and those of them that the next build ran again. ``refused``:
    it did not build again before it was asked in another way."""

    seconds: list[float] = []
    cpu: list[float] = []
    ran: list[int] = []
    wrong: int = 0
    over: bool = False
    failure: str = ""
    finished: int | None = None
    twice: int | None = None
    refused: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half of the range over the median."""
        return (max(self.seconds) - min(self.seconds)) / 2 / self.median


class Tooling(msgspec.Struct):
    """How a tool was used. ``absent``: why it was not. ``notes``: by scenario."""

    version: str = ""
    mode: str = ""
    absent: str = ""
    notes: dict[str, str] = {}
    remedy: str = ""


class Results(msgspec.Struct):
    """``bare``: seconds of ``python -c pass``, by size; ``bare_cpu``: of the processor. ``cells``: by size, tool and
    scenario."""

    date: str
    machine: str
    load: list[float]
    limit: float
    jobs: int
    tools: dict[str, Tooling]
    bare: dict[int, float] = {}
    bare_cpu: dict[int, float] = {}
    cells: dict[int, dict[str, dict[str, Cell]]] = {}
    expected: dict[int, dict[str, int]] = {}

    def cell(self, size: int, tool: str, scenario: str) -> Cell | None:
        return self.cells[size].get(tool, {}).get(scenario)

    @property
    def present(self) -> list[str]:
        return [name for name, tooling in self.tools.items() if not tooling.absent]


def load(path: Path) -> Results:
    return msgspec.json.decode(path.read_bytes(), type=Results)


def save(results: Results, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
