"""A result beside what the same target was published with before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .history import Entry
from .paired import quotient_interval

__all__ = ["beside_history"]

Result = Mapping[str, Any]
_RATIO = ("ratio", "ratio_low", "ratio_high")


def beside_history(
    name: str, own: Result, entries: Iterable[Entry], baseline: str | None, *, best: str | None = None
) -> tuple[Result, Result, float] | None:
    """(``own``, whose ``ratio`` is that to the recorded value; the recorded result; when it was recorded), or None if
    nothing was recorded. ``best``: ``lower`` or ``higher`` for the best of all; None: the last.

    Where both have a ratio to the same baseline, the ratio is that of the two ratios, because absolute times from
    different days cannot be compared. Otherwise it is that of the values.
    """
    known = [entry for entry in entries if entry.metrics.get(name) is not None]
    paired = _is_paired(own)
    relative = [entry for entry in known if paired and name in entry.intervals and entry.baseline == baseline]
    if not known:
        return None
    # A target that is measured otherwise than it was has the values alone.
    known = relative if relative and (best is not None or relative[-1] is known[-1]) else known
    taken = known[-1]
    if best is not None:
        pick = min if best == "lower" else max
        taken = pick(known, key=lambda entry: entry.ratios[name] if known is relative else entry.metrics[name] or 0.0)
    value = taken.metrics[name]
    assert value is not None
    if known is relative:
        ratios = quotient_interval((taken.ratios[name], *taken.intervals[name]), _three(own))
    else:
        parts = (own["value"], own.get("low"), own.get("high"))
        ratios = tuple(part / value if value and part is not None else None for part in parts)  # type: ignore[assignment]
    plain = {key: item for key, item in own.items() if key not in _RATIO}
    found = {key: ratio for key, ratio in zip(_RATIO, ratios, strict=True) if ratio is not None}
    return plain | found, {"value": value}, taken.time


def _three(result: Result) -> tuple[float, float, float]:
    return result["ratio"], result["ratio_low"], result["ratio_high"]


def _is_paired(result: Result) -> bool:
    return all(result.get(name) for name in _RATIO)
