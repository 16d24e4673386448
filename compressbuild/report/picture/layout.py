"""Where the boxes of a layered picture go: left to right, after Sugiyama, Tagawa, Toda 1981, by grandalf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

__all__ = ["Place", "Placed", "place"]

_MARGIN = 28.0
_BETWEEN_COLUMNS = 46.0
_BETWEEN_ROWS = 14.0

Point = tuple[float, float]


class Place(msgspec.Struct, frozen=True):
    """A rectangle, by its upper left corner."""

    x: float
    y: float
    width: float
    height: float


class Placed(msgspec.Struct, frozen=True):
    """``routes``: edge → points from the right side of its start to the left side of its end, by way of the room kept
    for it in each column between."""

    boxes: Mapping[str, Place]
    routes: Mapping[tuple[str, str], tuple[Point, ...]]
    width: float
    height: float


class _View:
    """What grandalf wants of a vertex. It lays out top to bottom: axes are swapped here and back."""

    def __init__(self, size: tuple[float, float]) -> None:
        self.w, self.h = size[1], size[0]
        self.xy = (0.0, 0.0)


def place(sizes: Mapping[str, tuple[float, float]], edges: Sequence[tuple[str, str]]) -> Placed:
    """``sizes``: box → width and height. Boxes of one column stand flush left. Each connected part is laid out by
    itself and put below the last."""
    from grandalf.graphs import Edge, Graph, Vertex

    vertices = {}
    for name, size in sizes.items():
        vertices[name] = Vertex(name)
        vertices[name].view = _View(size)
    graph = Graph(list(vertices.values()), [Edge(vertices[a], vertices[b]) for a, b in edges])
    boxes: dict[str, Place] = {}
    routes: dict[tuple[str, str], tuple[Point, ...]] = {}
    top = _MARGIN
    for part in graph.C:
        bottom = _place_part(part, sizes, top, boxes, routes)
        top = bottom + _BETWEEN_ROWS
    right = max((box.x + box.width for box in boxes.values()), default=0.0)
    return Placed(boxes, routes, right + _MARGIN, top + _MARGIN - _BETWEEN_ROWS if boxes else 2 * _MARGIN)


def _place_part(
    part: Any,
    sizes: Mapping[str, tuple[float, float]],
    top: float,
    boxes: dict[str, Place],
    routes: dict[tuple[str, str], tuple[Point, ...]],
) -> float:
    """Add one connected part below ``top``; its bottom."""
    from grandalf.layouts import SugiyamaLayout

    layout = SugiyamaLayout(part)
    layout.xspace, layout.yspace = _BETWEEN_ROWS, _BETWEEN_COLUMNS
    layout.init_all()
    layout.draw(8)
    members = list(part.sV)
    column = {v: layout.grx[v].rank for v in members}
    widest: dict[int, float] = {}
    for v in members:
        widest[column[v]] = max(widest.get(column[v], 0.0), sizes[v.data][0])
    left, x = {}, _MARGIN
    for rank in sorted(widest):
        left[rank] = x
        x += widest[rank] + _BETWEEN_COLUMNS
    down = top - min(v.view.xy[0] - v.view.w / 2 for layer in layout.layers for v in layer)
    for v in members:
        width, height = sizes[v.data]
        boxes[v.data] = Place(left[column[v]], v.view.xy[0] - height / 2 + down, width, height)
    for edge in part.sE:
        start, end = (boxes[v.data] for v in edge.v)
        points = [(start.x + start.width, start.y + start.height / 2)]
        for rank in range(column[edge.v[0]] + 1, column[edge.v[1]]):
            y = layout.ctrls[edge][rank].view.xy[0] + down
            points += [(left[rank], y), (left[rank] + widest[rank], y)]
        points.append((end.x, end.y + end.height / 2))
        routes[edge.v[0].data, edge.v[1].data] = tuple(points)
    bottom: float = max(v.view.xy[0] + v.view.w / 2 for layer in layout.layers for v in layer) + down
    return bottom
