"""Results as an SVG: seconds over nodes, both logarithmic. It has its own background, light or dark as the reader's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .results import Results
from .table import TITLES, series

SHOWN = ("cold", "noop", "leaf")
WIDTH, HEIGHT, TOP, BOTTOM, LEFT, RIGHT = 370, 340, 46, 46, 52, 94
COLOURS = {
    "cbuild": ("#c2185b", "#ff7ab0"),
    "ninja": ("#1f6fb4", "#6db6f2"),
    "make": ("#7a7a7a", "#b0b0b0"),
    "doit": ("#2e7d32", "#7fd086"),
    "scons": ("#b26a00", "#f0b35a"),
    "redun": ("#6a3fb5", "#b79cf0"),
    "snakemake": ("#00838f", "#5fd0dc"),
    "dvc": ("#8d4b32", "#d9a083"),
}
"""On a light and on a dark ground."""
STYLE = """\
text { font: 12px system-ui, sans-serif; fill: var(--ink) } .title { font-weight: 600 } .grid { stroke: var(--grid) }
.page { fill: var(--page) } polyline { fill: none; stroke-width: 1.5 }
polyline.cbuild { stroke-width: 3 } text.cbuild { font-weight: 700 } .beyond { stroke-dasharray: 3 4 }
"""


@dataclass(frozen=True)
class Axes:
    """From sizes and seconds to places in a panel at ``x``."""

    x: float
    sizes: Sequence[int]
    low: float
    high: float

    def across(self, size: int) -> float:
        first, last = math.log(self.sizes[0]), math.log(self.sizes[-1])
        share = (math.log(size) - first) / (last - first) if last > first else 0.5
        return self.x + LEFT + share * (WIDTH - LEFT - RIGHT)

    def up(self, seconds: float) -> float:
        share = (math.log(seconds) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def svg(results: Results) -> str:
    width = WIDTH * len(SHOWN)
    body = [line for number, scenario in enumerate(SHOWN) for line in _panel(results, scenario, number * WIDTH)]
    light, dark = ([f".{name} {{ --line: {pair[i]} }}" for name, pair in COLOURS.items()] for i in (0, 1))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
        'role="img" aria-label="Seconds of a build over the number of nodes, by tool">'
    )
    style = "\n".join(
        [
            "<style>",
            "svg { --ink: #222; --grid: #ddd; --page: #fff }",
            *light,
            STYLE + "polyline, .mark { stroke: var(--line) } .mark { fill: var(--line) }",
            "@media (prefers-color-scheme: dark) { svg { --ink: #ddd; --grid: #444; --page: #1b1d21 }",
            *dark,
            "}</style>",
        ]
    )
    return "\n".join([head, style, f'<rect class="page" width="{width}" height="{HEIGHT}"/>', *body, "</svg>"]) + "\n"


def _panel(results: Results, scenario: str, x: float) -> Iterator[str]:
    axes = Axes(x, sorted(results.cells), 0.001, 10 ** math.ceil(math.log10(results.limit)))
    yield f'<text class="title" x="{x + LEFT}" y="22">{TITLES[scenario]}</text>'
    yield f'<text x="{x + LEFT}" y="38">seconds, by nodes</text>'
    yield from _grid(axes)
    ends: list[tuple[float, str]] = []
    for name in results.present:
        points, over = series(results, name, scenario), _over(results, name, scenario)
        places = [(axes.across(size), axes.up(seconds)) for size, seconds in points.items()]
        yield from _line(places, name)
        if over is not None:
            places = [*places[-1:], (axes.across(over), axes.up(results.limit))]
            yield from _beyond(places, name)
        if places:
            ends.append((places[-1][1], name))
    yield from _names(ends, x + WIDTH - RIGHT + 10)


def _over(results: Results, name: str, scenario: str) -> int | None:
    """The smallest size that took longer than the limit."""
    cells = [(size, results.cell(size, name, scenario)) for size in sorted(results.cells)]
    return next((size for size, cell in cells if cell and cell.over), None)


def _grid(axes: Axes) -> Iterator[str]:
    left, right = axes.x + LEFT, axes.x + WIDTH - RIGHT
    for power in range(round(math.log10(axes.low)), round(math.log10(axes.high)) + 1):
        y = axes.up(10.0**power)
        yield f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
    for size in axes.sizes:
        at = axes.across(size)
        yield f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        yield f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{size:,}</text>'


def _line(places: Sequence[tuple[float, float]], name: str) -> Iterator[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline class="{name}" points="{path}"/>'
    for x, y in places:
        yield f'<circle class="mark {name}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'


def _beyond(places: Sequence[tuple[float, float]], name: str) -> Iterator[str]:
    """A triangle at the limit, and a line of dashes to it."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline class="{name} beyond" points="{path}"/>'
    x, y = places[-1]
    yield f'<path class="mark {name}" d="M{x - 5:.1f} {y + 4:.1f}h10l-5 -9z"/>'


def _names(ends: list[tuple[float, str]], x: float) -> Iterator[str]:
    """At the height of their lines' ends, and as far apart as text needs."""
    ends.sort()
    above = TOP - 14.0
    for at, (y, name) in enumerate(ends):
        below = HEIGHT - BOTTOM - 14 * (len(ends) - 1 - at)
        above = min(max(y, above + 14), below)
        yield f'<circle class="mark {name}" cx="{x}" cy="{above:.1f}" r="3"/>'
        yield f'<text class="{name}" x="{x + 7}" y="{above + 4:.1f}">{name}</text>'
