"""Results as the Markdown of ``docs/benchmarks.md``."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator

from ..compare import exponent
from .results import Cell, Results
from .trial import SCENARIOS

TITLES = {
    "cold": "cold",
    "noop": "no-op",
    "touched": "touched",
    "leaf": "one leaf",
    "cutoff": "cut off",
    "changed": "changed",
    "back": "and back",
    "killed": "killed",
}


def page(results: Results) -> str:
    counted = [*_actions(results), *_growth(results)] if results.cells else []
    return "\n".join(["", *_conditions(results), *_times(results), *counted])


def _conditions(results: Results) -> Iterator[str]:
    before, after = results.load[0], results.load[-1]
    yield f"{results.date}, {results.machine}. Load average: {before} before, {after} after."
    yield f"{results.jobs} jobs; a build is stopped after {results.limit:g} s.\n"
    for name, tool in results.tools.items():
        yield f"- {name}: not measured, {tool.absent}" if tool.absent else f"- {name} {tool.version}: {tool.mode}"
    yield ""


def _times(results: Results) -> Iterator[str]:
    for size, tools in results.cells.items():
        bare = results.bare[size]
        yield f"### {size:,} nodes\n"
        yield f"Seconds; × `python -c pass` ({bare * 1000:.1f} ms); ± half of the range of the rounds.\n"

        def cell(name: str, scenario: str, size: int = size, bare: float = bare) -> str:
            return _time(results.cell(size, name, scenario), bare, results.limit)

        yield from _table(tools, cell)
        if any(cell.cpu for cells in tools.values() for cell in cells.values()):
            yield "Seconds of the processor, user and system, of all processes of the tool: a busy machine disturbs"
            yield f"them less; × `python -c pass` ({results.bare_cpu[size] * 1000:.1f} ms); the median of the rounds.\n"
            yield from _table(tools, lambda name, each, size=size: _cpu(results.cell(size, name, each), results, size))


def _cpu(cell: Cell | None, results: Results, size: int) -> str:
    if cell is None or not cell.cpu or cell.over or cell.failure:
        return "–"
    used = statistics.median(cell.cpu)
    return f"{_three(used)}<br>×{_three(used / results.bare_cpu[size])}"


def _time(cell: Cell | None, bare: float, limit: float) -> str:
    if cell is None:
        return "–"
    if cell.over:
        return f"> {limit:g}"
    if cell.failure:
        return "failed"
    spread = f" ±{cell.spread:.0%}" if len(cell.seconds) > 1 else ""
    wrong = "<br>**wrong**" if cell.wrong else ""
    return f"{_three(cell.median)}<br>×{_three(cell.median / bare)}{spread}{wrong}"


def _three(number: float) -> str:
    """Three digits that count, and no exponent."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _actions(results: Results) -> Iterator[str]:
    size = min(results.cells)
    tools, least = results.cells[size], results.expected[size]
    yield f"### Actions run\n\nAt {size:,} nodes. Bold: more than necessary, or a wrong result. Killed: of the actions"
    yield "that had ended, those that the next build ran again.\n"
    yield from _table(tools, lambda name, each: _ran(tools[name].get(each), least[each]))
    for name in results.present:
        for scenario in SCENARIOS:
            for note in dict.fromkeys(_notes(results, name, scenario)):
                yield f"- {name}, {TITLES[scenario]}: {note}."
    yield ""


def _ran(cell: Cell | None, least: int) -> str:
    if cell is None or not cell.ran or cell.failure:
        return "–"
    text = f"{cell.twice} of {cell.finished}" if cell.twice is not None else str(max(cell.ran))
    marked = f"**{text}**" if _more(cell, least) else text
    return marked + ("<br>**wrong**" if cell.wrong else "") + ("<br>**refused**" if cell.refused else "")


def _more(cell: Cell, least: int) -> bool:
    return (max(cell.ran, default=0) if cell.twice is None else cell.twice) > least


def _notes(results: Results, name: str, scenario: str) -> Iterator[str]:
    tool = results.tools[name]
    for size in results.cells:
        cell = results.cell(size, name, scenario)
        if cell is None:
            continue
        if cell.failure:
            yield f"failed at {size:,} nodes ({cell.failure})"
        if cell.refused:
            yield f"refuses to build before {' and '.join(f'`{word}`' for word in tool.remedy.split())}"
        filled = cell.over and results.cell(size, name, "noop") is not None
        if scenario in tool.notes and (filled or cell.wrong or _more(cell, results.expected[size][scenario])):
            yield tool.notes[scenario]


def _growth(results: Results) -> Iterator[str]:
    yield "### Growth\n"
    yield "The k of seconds ≈ floor + c · N^k. The floor is the time at the smallest size, or zero where there are only"
    yield "two. –: the times hardly differ. An action: the seconds of a cold build less those of a no-op, over N, at"
    yield "the largest size.\n"
    points = {name: {each: series(results, name, each) for each in SCENARIOS} for name in results.present}

    def cell(name: str, column: str) -> str:
        return _action(points[name]) if column == "an action" else _exponent(points[name][column])

    yield from _table(results.present, cell, (*SCENARIOS, "an action"))


def series(results: Results, name: str, scenario: str) -> dict[int, float]:
    """Seconds by size, where there are any that count."""
    cells = {size: results.cell(size, name, scenario) for size in sorted(results.cells)}
    return {size: c.median for size, c in cells.items() if c and c.seconds and not (c.over or c.failure)}


def _action(points: dict[str, dict[int, float]]) -> str:
    cold, noop = points["cold"], points["noop"]
    size = max(cold.keys() & noop.keys(), default=0)
    return f"{_three((cold[size] - noop[size]) / size * 1000)} ms" if size else "–"


def _exponent(points: dict[int, float]) -> str:
    found = exponent(points, points[min(points)] if len(points) > 2 else 0.0) if points else None
    return "–" if found is None else f"{found:.2f}"


def _table(rows: Iterable[str], cell: Callable[[str, str], str], columns: tuple[str, ...] = SCENARIOS) -> Iterator[str]:
    yield f"| | {' | '.join(TITLES.get(each, each) for each in columns)} |"
    yield "|---|" + "---|" * len(columns)
    for row in rows:
        yield f"| {row} | {' | '.join(cell(row, each) for each in columns)} |"
    yield ""
