"""The DAG as a picture: dot, mermaid, or svg (laid out after Sugiyama et al. 1981 by grandalf)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from ..plan import Plan

__all__ = ["Picture", "dot", "make", "mermaid", "svg"]

_FILL = {"source": "#e8eaf6", "technique": "#e3f2fd", "compile": "#fff3e0", "metric": "#f3e5f5", "target": "#e8f5e9"}


@dataclass(frozen=True, slots=True)
class Box:
    """``role``: source, technique, compile, metric or target."""

    name: str
    title: str
    below: str
    role: str
    cached: bool


@dataclass(frozen=True, slots=True)
class Picture:
    boxes: tuple[Box, ...]
    edges: tuple[tuple[str, str], ...]


def make(plan: Plan, *, with_metrics: bool) -> Picture:
    """A box for each node, and one for each target behind the node that it publishes."""
    graph = plan.graph
    shown = plan.actions.keys() if with_metrics else graph.closure(graph.targets[n].artifact for n in plan.targets)
    boxes, edges = [], []
    for index in graph.order:
        if index not in shown:
            continue
        node = graph.nodes[index]
        owner, _, step = node.position.rpartition("/")
        role = "source" if node.role in ("source", "import") else node.role
        cached = plan.actions[index].status == "cached"
        boxes.append(Box(f"n{index}", step if role != "source" else owner, node.kind, role, cached))
        edges += [(f"n{source}", f"n{index}") for source in dict.fromkeys(node.inputs.values())]
    for number, name in enumerate(plan.targets):
        target = graph.targets[name]
        ready = all(plan.actions[i].status == "cached" for i in target.nodes)
        boxes.append(Box(f"t{number}", name, target.spec.platform or "", "target", ready))
        edges.append((f"n{target.artifact}", f"t{number}"))
    return Picture(tuple(boxes), tuple(edges))


def dot(picture: Picture) -> str:
    """Graphviz: https://graphviz.org/doc/info/lang.html."""
    lines = [
        "digraph compressbuild {",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fontname="sans-serif"];',
    ]
    for box in picture.boxes:
        label = json.dumps("\n".join(filter(None, (box.title, box.below))))
        style = "" if box.cached else ', style="rounded,filled,dashed"'
        lines.append(f'  {box.name} [label={label}, fillcolor="{_FILL[box.role]}"{style}];')
    lines += [f"  {a} -> {b};" for a, b in picture.edges]
    return "\n".join([*lines, "}"])


def mermaid(picture: Picture) -> str:
    """Mermaid flowchart, which Markdown viewers draw: https://mermaid.js.org/syntax/flowchart.html."""
    lines = ["flowchart LR"]
    for box in picture.boxes:
        label = escape(box.title) + (f"<br/><i>{escape(box.below)}</i>" if box.below else "")
        shape = ('(["', '"])') if box.role == "target" else ('["', '"]')
        lines.append(f"  {box.name}{shape[0]}{label}{shape[1]}")
    lines += [f"  {a} --> {b}" for a, b in picture.edges]
    for role, fill in _FILL.items():
        members = ",".join(box.name for box in picture.boxes if box.role == role)
        if members:
            lines += [f"  classDef {role} fill:{fill},stroke:#607d8b,color:#111", f"  class {members} {role}"]
    return "\n".join(lines)


_HEIGHT, _CHAR, _GAP = 40, 7.2, 28


def _width(box: Box) -> float:
    return max(len(box.title), len(box.below)) * _CHAR + 24


def _layout(picture: Picture) -> dict[str, tuple[float, float]]:
    """Centre of each box, left to right. Each connected part is laid out by itself and put below the last."""
    from grandalf.graphs import Edge, Graph, Vertex
    from grandalf.layouts import SugiyamaLayout

    class View:
        def __init__(self, box: Box) -> None:
            self.w, self.h = _HEIGHT, _width(box)  # grandalf lays out top to bottom: axes are swapped here and back
            self.xy = (0.0, 0.0)

    vertices = {}
    for box in picture.boxes:
        vertices[box.name] = Vertex(box.name)
        vertices[box.name].view = View(box)
    graph = Graph(list(vertices.values()), [Edge(vertices[a], vertices[b]) for a, b in picture.edges])
    places: dict[str, tuple[float, float]] = {}
    top = 0.0
    for part in graph.C:
        layout = SugiyamaLayout(part)
        layout.xspace, layout.yspace = _GAP / 2, _GAP * 1.6
        layout.init_all()
        layout.draw(6)
        members = list(part.sV)
        low = min(v.view.xy[0] - _HEIGHT / 2 for v in members)
        left = min(v.view.xy[1] - v.view.h / 2 for v in members)
        for v in members:
            places[v.data] = (v.view.xy[1] - left + _GAP, v.view.xy[0] - low + top + _GAP)
        top = max(y for _, y in places.values()) + _HEIGHT
    return places


def _path(start: tuple[float, float], end: tuple[float, float]) -> str:
    bend = (start[0] + end[0]) / 2
    return (
        f"M{start[0]:.1f},{start[1]:.1f} C{bend:.1f},{start[1]:.1f} {bend:.1f},{end[1]:.1f} {end[0]:.1f},{end[1]:.1f}"
    )


def svg(picture: Picture) -> str:
    """A picture of its own, readable on light and dark pages."""
    places = _layout(picture)
    boxes = {box.name: box for box in picture.boxes}
    width = max((x + _width(boxes[n]) / 2 for n, (x, _) in places.items()), default=0) + _GAP
    height = max((y for _, y in places.values()), default=0) + _HEIGHT / 2 + _GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="system-ui,sans-serif" font-size="12" role="img">',
        "<title>Graph of the build</title>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0L8,4L0,8z" fill="#78909c"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#fafafa"/>',
    ]
    for a, b in picture.edges:
        start = (places[a][0] + _width(boxes[a]) / 2, places[a][1])
        end = (places[b][0] - _width(boxes[b]) / 2, places[b][1])
        lines.append(
            f'<path d="{_path(start, end)}" fill="none" stroke="#90a4ae" stroke-width="1.3" marker-end="url(#arrow)"/>'
        )
    lines += [line for name, place in places.items() for line in _box(boxes[name], place)]
    return "\n".join([*lines, "</svg>"])


def _box(box: Box, place: tuple[float, float]) -> Iterable[str]:
    x, y = place
    w = _width(box)
    dash = "" if box.cached else ' stroke-dasharray="5 3"'
    radius = _HEIGHT / 2 if box.role == "target" else 6
    yield (
        f'<rect x="{x - w / 2:.1f}" y="{y - _HEIGHT / 2:.1f}" width="{w:.1f}" height="{_HEIGHT}" rx="{radius}" '
        f'fill="{_FILL[box.role]}" stroke="#607d8b"{dash}/>'
    )
    up = -3 if box.below else 4
    place_title = f'x="{x:.1f}" y="{y + up:.1f}" text-anchor="middle"'
    yield f'<text {place_title} fill="#111" font-weight="600">{escape(box.title)}</text>'
    if box.below:
        place_below = f'x="{x:.1f}" y="{y + 12:.1f}" text-anchor="middle"'
        yield f'<text {place_below} fill="#455a64" font-size="10">{escape(box.below)}</text>'
