"""The DAG as a picture: dot, mermaid, or svg (laid out after Sugiyama et al. 1981 by grandalf)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from ...graph import Graph, Node
from ...plan import Plan
from .layout import Place, Placed, place

__all__ = ["Box", "Edge", "Picture", "dot", "fitted", "make", "mermaid", "svg"]

_FILL = {"source": "#e8eaf6", "technique": "#e3f2fd", "compile": "#fff3e0", "metric": "#f3e5f5", "target": "#e8f5e9"}
_SAYS = {"source": "model", "technique": "step", "compile": "compiled", "metric": "measurement", "target": "target"}
_LINE, _TEXT, _FAINT = "#607d8b", "#111", "#455a64"
_LONGEST = 30  # characters of a box's second line
_LEAST = 8  # of those, before a text is not cut any more
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})


class Box(msgspec.Struct, frozen=True):
    """``role``: source, technique, compile, metric or target. ``below``: its second line. ``more``: all there is to
    say, for a tooltip."""

    name: str
    title: str
    below: str
    role: str
    cached: bool
    more: str = ""


class Edge(msgspec.Struct, frozen=True):
    """``label``: what the input is to its consumer, where it is not what it works on (``teacher``)."""

    start: str
    end: str
    label: str = ""


class Picture(msgspec.Struct, frozen=True):
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]


def make(plan: Plan, *, with_metrics: bool) -> Picture:
    """A box for each node, and one for each target behind the node that it publishes."""
    graph = plan.graph
    shown = plan.actions.keys() if with_metrics else graph.closure(graph.targets[n].artifact for n in plan.targets)
    boxes: list[Box] = []
    edges: list[Edge] = []
    drawn = [index for index in graph.order if index in shown]
    nodes = [graph.nodes[index] for index in drawn]
    telling = _telling(nodes)
    said = _fitted_by_name(nodes, [_said(graph, node, telling) for node in nodes])
    for index in drawn:
        boxes.append(_node_box(graph, index, said[index], cached=plan.actions[index].status == "cached"))
        edges += _edges(graph.nodes[index])
    for number, name in enumerate(plan.targets):
        target = graph.targets[name]
        ready = all(plan.actions[i].status == "cached" for i in target.nodes)
        boxes.append(Box(f"t{number}", name, target.spec.platform or "", "target", ready, f"target {name}"))
        edges.append(Edge(f"n{target.artifact}", f"t{number}"))
    return Picture(tuple(boxes), tuple(edges))


def _node_box(graph: Graph, index: int, said: str, *, cached: bool) -> Box:
    node = graph.nodes[index]
    owner, _, step = node.position.rpartition("/")
    is_source = node.role in ("source", "import")
    below = said or node.kind
    lines = [*graph.positions[index], *(f"{k}: {_short(v)}" for k, v in node.params.items()), f"makes {node.kind}"]
    title, role = (owner, "source") if is_source else (step, node.role)
    return Box(f"n{index}", title, below, role, cached, "\n".join(lines))


def _said(graph: Graph, node: Node, telling: set[tuple[str, str]]) -> str:
    """Its parameters that are not as usual. First those in which nodes of its technique differ."""
    usual = {} if node.role in ("source", "import") else _defaults(graph, node)
    shown = [
        name
        for name, default in usual.items()
        if name in node.key_params
        # What 'auto' came to is worth its place only where it parts nodes.
        and ((node.name, name) in telling or node.params[name] != default != "auto")
    ]
    shown.sort(key=lambda name: (node.name, name) not in telling)
    return ", ".join(f"{name} {_short(node.params[name])}" for name in shown)


def _fitted_by_name(nodes: Sequence[Node], said: Sequence[str]) -> dict[int, str]:
    """By node: what is said of it, cut to its box among the nodes of the same technique."""
    together: dict[str, list[tuple[int, str]]] = {}
    for node, text in zip(nodes, said, strict=True):
        together.setdefault(node.name, []).append((node.index, text))
    found: dict[int, str] = {}
    for pairs in together.values():
        fit = fitted([text for _, text in pairs], _LONGEST)
        found |= {index: fit[text] for index, text in pairs}
    return found


def fitted(texts: Iterable[str], longest: int) -> dict[str, str]:
    """Each text → at most ``longest`` characters of it. Long ones are cut at the end. Where that makes different texts
    equal, they are cut at the start, up to a little before they differ. Too many that differ too late stay whole."""
    if longest < _LEAST:
        return {text: text for text in texts}
    together: dict[str, list[str]] = {}
    for text in dict.fromkeys(texts):
        together.setdefault(_head(text, longest), []).append(text)
    found: dict[str, str] = {}
    for head, equal in together.items():
        if len(equal) == 1:
            found[equal[0]] = head
            continue
        before = min(_shared(min(equal), max(equal)) - longest // 3, max(map(len, equal)) - longest + 1)
        start = max(1, before)
        tails = fitted([text[start:] for text in equal], longest - 1)
        found |= {text: "…" + tails[text[start:]] for text in equal}
    return found


def _shared(first: str, last: str) -> int:
    """How many characters of their starts are equal: of the first and the last of some in order, those of all."""
    return next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _head(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _telling(nodes: Sequence[Node]) -> set[tuple[str, str]]:
    """(technique, parameter) where nodes of one technique differ."""
    seen: dict[tuple[str, str], set[bytes]] = {}
    for node in nodes:
        for name, value in node.key_params.items():
            seen.setdefault((node.name, name), set()).add(msgspec.json.encode(value))
    return {pair for pair, values in seen.items() if len(values) > 1}


def _defaults(graph: Graph, node: Node) -> dict[str, Any]:
    """Parameter → default as JSON; None for a required one."""
    if node.role == "compile":
        kind = graph.registry.backends[node.name].settings
    elif node.role == "metric":
        kind = graph.registry.metrics[node.name].params
    else:
        kind = graph.registry.techniques[node.name].params
    found = {}
    for field in msgspec.structs.fields(kind):
        default = field.default_factory() if callable(field.default_factory) else field.default
        found[field.encode_name] = (
            None if default is msgspec.NODEFAULT else msgspec.json.decode(msgspec.json.encode(default))
        )
    return found


def _short(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _edges(node: Node) -> Iterable[Edge]:
    roles: dict[int, list[str]] = {}
    for role, source in node.inputs.items():
        roles.setdefault(source, []).extend([] if role == "subject" else [role])
    for source, others in roles.items():
        yield Edge(f"n{source}", f"n{node.index}", ", ".join(others))


def escape(text: str) -> str:
    """As ``html.escape``, whose module brings every entity of HTML along."""
    return text.translate(_ESCAPES)


def dot(picture: Picture) -> str:
    """Graphviz: https://graphviz.org/doc/info/lang.html."""
    import json

    lines = [
        "digraph compressbuild {",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fontname="sans-serif"];',
    ]
    for box in picture.boxes:
        label = json.dumps("\n".join(filter(None, (box.title, box.below))), ensure_ascii=False)
        style = "" if box.cached else ', style="rounded,filled,dashed"'
        lines.append(f'  {box.name} [label={label}, fillcolor="{_FILL[box.role]}"{style}];')
    for edge in picture.edges:
        label = f" [label={json.dumps(edge.label)}]" if edge.label else ""
        lines.append(f"  {edge.start} -> {edge.end}{label};")
    return "\n".join([*lines, "}"])


def mermaid(picture: Picture) -> str:
    """Mermaid flowchart, which Markdown viewers draw: https://mermaid.js.org/syntax/flowchart.html."""
    lines = ["flowchart LR"]
    for box in picture.boxes:
        label = escape(box.title) + (f"<br/><i>{escape(box.below)}</i>" if box.below else "")
        shape = ('(["', '"])') if box.role == "target" else ('["', '"]')
        lines.append(f"  {box.name}{shape[0]}{label}{shape[1]}")
    lines += [f"  {e.start} -->{f'|{escape(e.label)}|' if e.label else ''} {e.end}" for e in picture.edges]
    for role, fill in _FILL.items():
        members = ",".join(box.name for box in picture.boxes if box.role == role)
        if members:
            lines += [f"  classDef {role} fill:{fill},stroke:{_LINE},color:{_TEXT}", f"  class {members} {role}"]
    if undone := ",".join(box.name for box in picture.boxes if not box.cached):
        lines += ["  classDef undone stroke-dasharray:5 3", f"  class {undone} undone"]
    return "\n".join(lines)


_HEIGHT, _CHAR, _SMALL, _PAD, _LEGEND = 40, 7.4, 5.9, 24, 34


def _width(box: Box) -> float:
    return max(len(box.title) * _CHAR, len(box.below) * _SMALL) + _PAD


def svg(picture: Picture) -> str:
    """A picture of its own, readable on light and dark pages, with a legend below."""
    placed = place(
        {box.name: (_width(box), float(_HEIGHT)) for box in picture.boxes}, [(e.start, e.end) for e in picture.edges]
    )
    legend, legend_width = _legend(picture, placed.height)
    width, height = max(placed.width, legend_width), placed.height + _LEGEND
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="system-ui,sans-serif" font-size="12" role="img">',
        "<title>Graph of the build</title>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0L8,4L0,8z" fill="#78909c"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#fafafa"/>',
    ]
    metrics = {box.name for box in picture.boxes if box.role == "metric"}
    for edge in picture.edges:
        lines += _edge(edge, placed, to_metric=edge.end in metrics)
    for box in picture.boxes:
        lines += _box(box, placed.boxes[box.name])
    return "\n".join([*lines, *legend, "</svg>"])


def _edge(edge: Edge, placed: Placed, *, to_metric: bool) -> Iterable[str]:
    points = placed.routes[edge.start, edge.end]
    dash = ' stroke-dasharray="2 3"' if edge.label else ""
    path = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        bend = (x0 + x1) / 2
        path += f" C{bend:.1f},{y0:.1f} {bend:.1f},{y1:.1f} {x1:.1f},{y1:.1f}"
    yield f'<path d="{path}" fill="none" stroke="#90a4ae" stroke-width="1.3"{dash} marker-end="url(#arrow)"/>'
    if edge.label and not to_metric:
        (x0, y0), (x1, y1) = points[(len(points) - 1) // 2 :][:2]
        x, y = (x0 + x1) / 2, (y0 + y1) / 2 - 4
        place_text = f'x="{x:.1f}" y="{y:.1f}" text-anchor="middle"'
        yield f'<text {place_text} fill="{_FAINT}" font-size="10" font-style="italic">{escape(edge.label)}</text>'


def _box(box: Box, at: Place) -> Iterable[str]:
    yield f'<g data-box="{box.name}">' + (f"<title>{escape(box.more)}</title>" if box.more else "")
    yield _rect(at, box.role, cached=box.cached)
    middle = at.y + at.height / 2
    up = -3 if box.below else 4
    place_title = f'x="{at.x + at.width / 2:.1f}" y="{middle + up:.1f}" text-anchor="middle"'
    yield f'<text {place_title} fill="{_TEXT}" font-weight="600">{escape(box.title)}</text>'
    if box.below:
        place_below = f'x="{at.x + at.width / 2:.1f}" y="{middle + 12:.1f}" text-anchor="middle"'
        yield f'<text {place_below} fill="{_FAINT}" font-size="10">{escape(box.below)}</text>'
    yield "</g>"


def _rect(at: Place, role: str, *, cached: bool) -> str:
    dash = "" if cached else ' stroke-dasharray="5 3"'
    radius = at.height / 2 if role == "target" else min(6, at.height / 3)
    return (
        f'<rect x="{at.x:.1f}" y="{at.y:.1f}" width="{at.width:.1f}" height="{at.height:.1f}" rx="{radius:.1f}" '
        f'fill="{_FILL[role]}" stroke="{_LINE}"{dash}/>'
    )


def _legend(picture: Picture, top: float) -> tuple[list[str], float]:
    """Its lines, and how wide it is."""
    roles = [role for role in _FILL if any(box.role == role for box in picture.boxes)]
    entries = [(role, _SAYS[role], True) for role in roles]
    if not all(box.cached for box in picture.boxes):
        entries.append(("technique", "to be built", False))
    x, lines = 28.0, []
    for role, text, cached in entries:
        lines.append(_rect(Place(x, top + 2, 20, 12), role, cached=cached))
        lines.append(f'<text x="{x + 26:.1f}" y="{top + 12:.1f}" fill="{_FAINT}" font-size="10">{text}</text>')
        x += 26 + len(text) * _SMALL + 22
    return lines, x
