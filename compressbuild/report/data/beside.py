"""The operators of two profiles side by side, under the modules that they come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from operator import eq

import msgspec

from ...api import Operator, Profile

__all__ = ["Beside", "Layer", "Pair", "Timed", "beside"]

_NUMBER = re.compile(r"_\d+")


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """One operator of a side. ``us``: microseconds of a run."""

    name: str
    op: str
    us: float


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The same operator on both sides; None where a side has none: it was fused, removed or added."""

    first: Timed | None
    second: Timed | None


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A module. ``name``: empty for operators of no module that is known. ``first`` and ``second``: microseconds of a
    run, None where the side has no operator of it. ``ratio``: second / first."""

    name: str
    first: float | None
    second: float | None
    ratio: float | None
    operators: tuple[Pair, ...]


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """``layers``: in the order in which they run. ``runs``: microseconds of a whole run under the profiler; ``rest``:
    those that no operator accounts for. ``batch``: samples of a run. ``only_first`` and ``only_second``: how many
    operators one side alone has."""

    layers: tuple[Layer, ...]
    runs: tuple[float, float]
    rest: tuple[float, float]
    batch: int
    only_first: int
    only_second: int


def beside(first: Profile, second: Profile) -> Beside:
    """ValueError where the runs had different numbers of samples: their times do not compare."""
    if first.batch != second.batch:
        raise ValueError(f"profiled at batch {first.batch} and {second.batch}")
    a, b = _grouped(first.operators), _grouped(second.operators)
    layers = tuple(_layer(name, a.get(name, []), b.get(name, [])) for name in _merged(list(a), list(b)))
    pairs = [pair for layer in layers for pair in layer.operators]
    rests = [max(0.0, p.run_us - sum(row.time_us for row in p.operators)) for p in (first, second)]
    return Beside(
        layers=layers,
        runs=(first.run_us, second.run_us),
        rest=(rests[0], rests[1]),
        batch=first.batch,
        only_first=sum(pair.second is None for pair in pairs),
        only_second=sum(pair.first is None for pair in pairs),
    )


def _grouped(operators: Iterable[Operator]) -> dict[str, list[Timed]]:
    found: dict[str, list[Timed]] = {}
    for row in operators:
        found.setdefault(row.layer, []).append(Timed(name=row.name, op=row.op, us=row.time_us))
    return found


def _merged(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """The first's order; what the second alone has stands behind what it follows there. What has no name is last."""
    merged = list(first)
    at = 0
    for name in second:
        if name in merged:
            at = merged.index(name) + 1
        else:
            merged.insert(at, name)
            at += 1
    return sorted(merged, key=lambda name: not name)


def _layer(name: str, first: Sequence[Timed], second: Sequence[Timed]) -> Layer:
    sums = [sum(row.us for row in rows) if rows else None for rows in (first, second)]
    a, b = sums
    ratio = b / a if a and b is not None else None
    return Layer(name=name, first=a, second=b, ratio=ratio, operators=tuple(_pairs(first, second)))


def _pairs(first: Sequence[Timed], second: Sequence[Timed]) -> Iterator[Pair]:
    """Equal names first, so that none of these is taken for a like one."""
    left = list(second)
    partner: dict[int, Timed] = {}
    for same in (eq, _alike):
        for at, row in enumerate(first):
            found = next((other for other in left if same(row.name, other.name)), None) if at not in partner else None
            if found is not None:
                partner[at] = found
                left.remove(found)
    for at, row in enumerate(first):
        yield Pair(first=row, second=partner.get(at))
    for row in left:
        yield Pair(first=None, second=row)


def _alike(a: str, b: str) -> bool:
    """Whether two runtimes put something of their own behind one name: ``conv/node_1_quant`` and ``conv/node_1/Bias``
    are ``conv/node_1``; ``node_1`` and ``node_12`` are two, and so are ``relu`` and ``relu_1``, which torch numbers."""
    same = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rests = (a[same:], b[same:])
    return same > 0 and not any(rest[:1].isalnum() or _NUMBER.fullmatch(rest) for rest in rests)
