"""``split:`` of a dataset: parts of its rows that share none, each a dataset of its own."""

from __future__ import annotations

from itertools import pairwise

from ..api.part import Rows
from .checks import Checks
from .names import IDENTIFIER
from .nodes import Broken, Map, Node, Scalar, Seq, describe
from .spec import RunOptions

__all__ = ["parts"]

_SEED = "seed"
_HINT = "e.g. split: {calibration: 0.2, test: 0.8}; a share of the rows, a number of them, or [first, last + 1]"

Part = tuple[Scalar, Rows]
Slice = tuple[int, int]


def parts(node: Node, key: Scalar, checks: Checks) -> tuple[Part, ...]:
    """``{calibration: 0.2, seed: 0}`` of a dataset called ``key``: the dataset ``KEY.calibration``, and as ``KEY`` the
    rows that are in no part, unless shares leave none. Nothing if it is wrong."""
    what = f"'split' of dataset '{key.value}'"
    found = checks.mapping(node, what, hint=_HINT)
    if found is None:
        return ()
    named = [(name, size) for name, size in found.entries if name.value != _SEED]
    if not named:
        checks.add(f"{what} names no part", node.mark, _HINT)
    for name, _ in named:
        if not IDENTIFIER.fullmatch(str(name.value)):
            checks.add(f"'{name.value}' cannot name a part", name.mark, "use letters, digits, '-' and '_'")
    read = [_part(size, f"part '{name.value}'", checks) for name, size in named]
    options: RunOptions = checks.options(Map(tuple(e for e in found.entries if e[0].value == _SEED), found.mark))
    sizes = tuple(each for each in read if isinstance(each, int | float))
    slices = tuple(each for each in read if isinstance(each, tuple))
    if not named or len(sizes) + len(slices) < len(named):
        return ()
    if sizes and slices:
        checks.add(
            f"{what} has both sizes and slices", node.mark, "write all parts as sizes, or all as [first, last + 1]"
        )
        return ()
    if not _disjoint(named, sizes, slices, what, checks):
        return ()
    seed = options.seed if options.seed is not None or slices else 0
    whole = not slices and all(isinstance(size, float) for size in sizes) and sum(sizes) > 1 - 1e-9
    numbers: list[int | None] = [*range(len(named)), *([] if whole else [None])]
    return tuple(
        (
            key if number is None else Scalar(f"{key.value}.{named[number][0].value}", named[number][0].mark),
            Rows(sizes=sizes, slices=slices, part=number, seed=seed),
        )
        for number in numbers
    )


def _part(node: Node, what: str, checks: Checks) -> float | int | Slice | None:
    """A size or a slice."""
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, float) and 0 < value <= 1:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(node, Seq) and len(node.items) == 2:
        ends = [item.value for item in node.items if isinstance(item, Scalar) and type(item.value) is int]
        if len(ends) == 2 and 0 <= ends[0] < ends[1]:
            return (ends[0], ends[1])
    if not isinstance(node, Broken):
        checks.add(
            f"{what} must be a share above 0 and at most 1.0, a number of rows, or [first, last + 1], not "
            f"{_shown(node)}",
            node.mark,
            _HINT,
        )
    return None


def _shown(node: Node) -> str:
    if isinstance(node, Seq) and all(isinstance(item, Scalar) for item in node.items):
        return f"[{', '.join(str(item.value) for item in node.items if isinstance(item, Scalar))}]"
    return describe(node)


def _disjoint(
    named: list[tuple[Scalar, Node]],
    sizes: tuple[int | float, ...],
    slices: tuple[Slice, ...],
    what: str,
    checks: Checks,
) -> bool:
    shares = sum(size for size in sizes if isinstance(size, float))
    if shares > 1 + 1e-9:
        checks.add(
            f"the parts of {what} are {shares:.6g} of the rows", named[-1][1].mark, "they are at most 1.0 together"
        )
        return False
    by_start = sorted(range(len(slices)), key=slices.__getitem__)
    for one, other in pairwise(by_start):
        if slices[one][1] > slices[other][0]:
            first, second = (str(named[index][0].value) for index in (one, other))
            checks.add(
                f"parts '{first}' and '{second}' share rows {slices[other][0]} to "
                f"{min(slices[one][1], slices[other][1]) - 1}",
                named[max(one, other)][1].mark,
                "a slice ends before its second number",
            )
            return False
    return True
