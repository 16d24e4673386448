"""The operators of two targets side by side, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ...words import number
from ..data.beside import Beside, Layer
from .columns import columns

__all__ = ["beside_lines"]

_MOST = 40
_NAMELESS = "of no module"


def beside_lines(first: str, second: str, found: Beside | str) -> Iterator[str]:
    """A line for each module, in the order in which they run; of many, the slowest. A text says why there are none."""
    if isinstance(found, str):
        yield f"operators: {found}"
        return
    runs = [number(us / 1000, "ms") for us in found.runs]
    yield (
        f"operators: {first} {runs[0]}, {second} {runs[1]} a run under the profiler, batch {found.batch}; "
        f"only in {first}: {found.only_first}, only in {second}: {found.only_second}"
    )
    slow = sorted(found.layers, key=_slowest)[-_MOST:]
    shown = [layer for layer in found.layers if layer in slow]
    rows = [("module", f"{first} µs", f"{second} µs", "ratio", "operators")]
    rows += [
        (each.name or _NAMELESS, _us(each.first), _us(each.second), _ratio(each.ratio), _ops(each)) for each in shown
    ]
    rows.append(("outside operators", _us(found.rest[0]), _us(found.rest[1]), "", ""))
    yield from columns(rows, right=(1, 2, 3))
    left = [layer for layer in found.layers if layer not in slow]
    if left:
        first_us, second_us = sum(each.first or 0.0 for each in left), sum(each.second or 0.0 for each in left)
        yield f"and {len(left)} more modules: {first_us:,.1f} and {second_us:,.1f} µs ('--format json' has all)"


def _slowest(layer: Layer) -> float:
    return max(layer.first or 0.0, layer.second or 0.0)


def _us(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"×{value:.3g}"


def _ops(layer: Layer) -> str:
    """``Conv → QLinearConv, +2 QuantizeLinear, -Relu``: the same on both sides, in the second alone, in the first
    alone."""
    both: Counter[str] = Counter()
    added: Counter[str] = Counter()
    gone: Counter[str] = Counter()
    for pair in layer.operators:
        if pair.first is not None and pair.second is not None:
            same = pair.first.op == pair.second.op
            both[pair.first.op if same else f"{pair.first.op} → {pair.second.op}"] += 1
        elif pair.second is not None:
            added[pair.second.op] += 1
        elif pair.first is not None:
            gone[pair.first.op] += 1
    said = [(f"{count} " if count > 1 else "") + op for op, count in both.items()]
    for sign, counts in (("+", added), ("-", gone)):
        said += [f"{sign}{f'{count} ' if count > 1 else ''}{op}" for op, count in counts.items()]
    return ", ".join(said)
