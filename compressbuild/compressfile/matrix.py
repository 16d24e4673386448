"""``matrix:`` → one target for each point of the cross product of its axes, in the order written, last axis fastest."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

from ..words import suggest
from .checks import Checks
from .interpolate import Scope, Shared, axis_name, references, text_of
from .names import IDENTIFIER
from .nodes import Broken, Map, Node, Scalar, Seq, describe

__all__ = ["MAX_POINTS", "expand"]

MAX_POINTS = 100_000
_RESERVED = ("vars", "env")

Axes = dict[str, dict[str, Node]]  # axis → text of the value → value


def expand(key: Scalar, body: Node, scope: Scope, checks: Checks) -> Iterator[tuple[Scalar, Node]]:
    """The targets that one entry of ``targets:`` stands for: (name, body) with every reference replaced."""
    matrix = body.get("matrix") if isinstance(body, Map) else None
    if matrix is None or not isinstance(body, Map):
        yield scope.key(key), scope.expand(body)
        return
    written = checks.mapping(scope.expand(matrix), "'matrix'")
    axes = _axes(written, checks) if written else {}
    if not written or not axes or not _named(key, written, axes, checks):
        return
    excluded = _excluded(written, axes, checks)
    rest = Map(tuple(entry for entry in body.entries if entry[0].value != "matrix"), body.mark)
    shared = Shared()
    kept = 0
    for point in product(*(values.items() for values in axes.values())):
        if excluded and _is_excluded(dict(zip(axes, (text for text, _ in point), strict=True)), excluded):
            continue
        kept += 1
        inner = scope.with_axes(dict(zip(axes, (value for _, value in point), strict=True)), shared)
        name = inner.key(key)
        yield name, inner.expand(rest)
        if isinstance(name, Broken):  # as would be the names of a hundred thousand other points
            return
    if not kept:
        checks.add(f"the matrix of '{key.value}' excludes every point", written.key_mark("exclude"))


def _axes(matrix: Map, checks: Checks) -> Axes | None:
    axes: Axes = {}
    for key, node in matrix.entries:
        name = str(key.value)
        if name == "exclude":
            continue
        if not IDENTIFIER.fullmatch(name) or name in _RESERVED:
            checks.add(
                f"'{name}' cannot name an axis", key.mark, "use letters, digits, '-' and '_'; not 'vars' or 'env'"
            )
            return None
        values = _values(name, node, checks)
        if values is None:
            return None
        axes[name] = values
    if not axes:
        checks.add("the matrix has no axis", matrix.mark, "write e.g. {precision: [fp16, int8]}")
        return None
    points = prod(len(values) for values in axes.values())
    if points > MAX_POINTS:
        checks.add(f"the matrix has {points:,} points; at most {MAX_POINTS:,} are expanded", matrix.mark)
        return None
    return axes


def _values(axis: str, node: Node, checks: Checks) -> dict[str, Node] | None:
    if not isinstance(node, Seq) or not node.items:
        found = "empty" if isinstance(node, Seq) else describe(node)
        if not isinstance(node, Broken):
            checks.add(f"axis '{axis}' must be a list of values, not {found}", node.mark, f"write {axis}: [a, b]")
        return None
    values: dict[str, Node] = {}
    for item in node.items:
        text = text_of(axis_name(item))
        if isinstance(item, Broken):
            return None
        if text is None or isinstance(item, Seq):
            if isinstance(item, Map):
                checks.add(f"a mapping in axis '{axis}' needs a 'name'", item.mark, "e.g. {name: fp16, bits: 16}")
            else:
                checks.wrong(item, f"a value of axis '{axis}'", "text, a number or a mapping with a 'name'")
            return None
        if text in values:
            checks.add(f"axis '{axis}' has the value '{text}' twice", item.mark)
            return None
        values[text] = item
    return values


def _named(key: Scalar, matrix: Map, axes: Axes, checks: Checks) -> bool:
    """Whether the target's name tells the points apart."""
    used = {path.partition(".")[0] for path in references(key)}
    missing = [axis for axis in axes if axis not in used]
    for axis in missing:
        checks.add(
            f"axis '{axis}' is not in the target's name, so all its targets would have the same name",
            matrix.key_mark(axis),
            f"name the target '{key.value}-${{{axis}}}'",
        )
    return not missing


def _excluded(matrix: Map, axes: Axes, checks: Checks) -> list[dict[str, str]]:
    node = matrix.get("exclude")
    if node is None:
        return []
    if not isinstance(node, Seq):
        if not isinstance(node, Broken):
            checks.add(f"'exclude' must be a list of mappings, not {describe(node)}", node.mark)
        return []
    excluded = []
    for item in node.items:
        entry = checks.mapping(item, "an item of 'exclude'", tuple(axes))
        if entry is None:
            continue
        rule: dict[str, str] = {}
        for key, value in entry.entries:
            axis, text = str(key.value), text_of(value)
            if axis not in axes or isinstance(value, Broken):
                continue
            if text is None:
                checks.wrong(value, f"a value to exclude of axis '{axis}'", "text or a number")
                continue
            if text not in axes[axis]:
                checks.add(f"axis '{axis}' has no value '{text}'", value.mark, suggest(text, axes[axis]))
                continue
            rule[axis] = text
        if rule:
            excluded.append(rule)
    return excluded


def _is_excluded(point: dict[str, str], excluded: list[dict[str, str]]) -> bool:
    return any(all(point[axis] == text for axis, text in rule.items()) for rule in excluded)
