"""Parameters of steps that are ranges: ``{search: [low, high]}`` or ``{choose: [a, b]}``, for ``cbuild tune``.

Builds use the third entry, ``value``; so every build has one definite value. A target with a range that has none can
be planned and searched, not built.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ..words import suggest
from .checks import Checks
from .nodes import Broken, Map, Node, Scalar, Seq, plain
from .spec import RangeSpec

__all__ = ["VALUE", "is_range", "settled"]

VALUE = "value"
"""The entry of a range that builds use, and that ``cbuild tune --apply`` writes."""

_SEARCH = ("search", "log", "step", VALUE)
_CHOOSE = ("choose", VALUE)


def is_range(node: Node) -> bool:
    return isinstance(node, Map) and (node.get("search") is not None or node.get("choose") is not None)


def settled(params: Map, technique: str, checks: Checks) -> tuple[Map, tuple[RangeSpec, ...]]:
    """The parameters of a step with the value of each range in its place, and the ranges."""
    if not any(is_range(node) for _, node in params.entries):
        return params, ()
    entries: list[tuple[Scalar, Node]] = []
    found: list[RangeSpec] = []
    for key, node in params.entries:
        if isinstance(node, Map) and is_range(node):
            before = len(found)
            what = f"parameter '{key.value}' of '{technique}'"
            range_ = _searched if node.get("choose") is None else _chosen
            if (one := range_(str(key.value), node, what, checks)) is not None:
                found.append(one)
            value = _value(node, found[before:], what, checks)
            if value is None:
                found[before:] = [replace(one, open=True) for one in found[before:]]
                value = _first(node)
            entries.append((key, value))
        else:
            entries.append((key, node))
    return Map(tuple(entries), params.mark), tuple(found)


def _searched(name: str, node: Map, what: str, checks: Checks) -> RangeSpec | None:
    checks.mapping(node, what, _SEARCH)
    ends = node.get("search")
    assert ends is not None
    if not isinstance(ends, Seq) or len(ends.items) != 2:
        if isinstance(ends, Seq):
            checks.add(f"'search' must be [low, high], not a list of {len(ends.items)}", ends.mark)
        else:
            checks.wrong(ends, "'search'", "[low, high]", "e.g. {search: [0.1, 0.7]}; for names, {choose: [a, b]}")
        return None
    if any(checks.number(item, "an end of 'search'") is None for item in ends.items):
        return None
    low, high = (plain(item) for item in ends.items)
    if low >= high:
        checks.add(f"'search' goes from {low} to {high}", ends.mark, "write the smaller number first")
        return None
    log, step = node.get("log"), node.get("step")
    logarithmic = log is not None and plain(log) is True
    if log is not None and not isinstance(plain(log), bool):
        checks.wrong(log, "'log'", "true or false")
        return None
    if step is not None and checks.number(step, "'step'", above=0) is None:
        return None
    if logarithmic and step is not None:
        checks.add("'log' and 'step' exclude each other", step.mark, "leave one out")
        return None
    if logarithmic and low <= 0:
        checks.add("a logarithmic range must begin above 0", ends.mark)
        return None
    width = plain(step) if step is not None else None
    return RangeSpec(name, node.mark, low=low, high=high, log=logarithmic, step=width)


def _chosen(name: str, node: Map, what: str, checks: Checks) -> RangeSpec | None:
    if node.get("search") is not None:
        checks.add(f"{what} has both 'search' and 'choose'", node.key_mark("search"), "leave one out")
        return None
    checks.mapping(node, what, _CHOOSE)
    listed = node.get("choose")
    if not isinstance(listed, Seq) or not listed.items:
        if isinstance(listed, Seq):
            checks.add("'choose' is empty", listed.mark, "write e.g. {choose: [a, b]}")
        elif listed is not None:
            checks.wrong(listed, "'choose'", "a list of values", "write e.g. {choose: [a, b]}")
        return None
    choices: list[Any] = []
    for item in listed.items:
        value = plain(item)
        if _among(value, choices):
            checks.add(f"'choose' has {value!r} twice", item.mark)
        choices.append(value)
    return RangeSpec(name, node.mark, choices=tuple(choices))


def _first(node: Map) -> Node:
    """Stands in for the value that a range has not. Broken, which no later pass complains about, if it is not sound."""
    listed = node.get("choose") or node.get("search")
    return listed.items[0] if isinstance(listed, Seq) and listed.items else Broken(None, node.mark)


def _value(node: Map, found: list[RangeSpec], what: str, checks: Checks) -> Node | None:
    """What builds use; None where there is none."""
    value = node.get(VALUE)
    if value is None:
        return None
    for one in found:
        written = plain(value)
        if one.choices and not _among(written, one.choices):
            listed = list(map(str, one.choices))
            checks.add(f"the value of {what} is not among its choices", value.mark, suggest(str(written), listed))
        elif not one.choices and checks.number(value, f"the value of {what}") is not None:
            assert one.low is not None
            assert one.high is not None
            if not one.low <= written <= one.high:
                checks.add(f"the value of {what} is outside its range, {one.low} to {one.high}", value.mark)
    return value


def _among(value: Any, values: Any) -> bool:
    """Whether it is one of them; 1, 1.0 and true differ."""
    return any(type(value) is type(other) and value == other for other in values)
