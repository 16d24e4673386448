"""Metrics from build to build, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from ...evaluate.history import Entry
from ...words import number
from .columns import columns

__all__ = ["sparkline", "trend_lines"]

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None]) -> str:
    """A bar for each value, between the least and the greatest; a dot where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return "·" * len(values)
    low, high = min(known), max(known)
    spread = high - low
    return "".join(
        "·" if v is None else _BARS[round((v - low) / spread * (len(_BARS) - 1))] if spread else _BARS[3]
        for v in values
    )


def trend_lines(
    entries: Sequence[Entry], units: Mapping[str, str], directions: Mapping[str, str], last: int
) -> Iterator[str]:
    """A line for each metric over the ``last`` entries, then one for each of these."""
    shown = entries[-last:]
    names = dict.fromkeys(name for entry in shown for name in entry.metrics)
    rows = []
    for name in names:
        values = [entry.metrics.get(name) for entry in shown]
        known = [value for value in values if value is not None]
        ends = [number(value, units.get(name, "")) for value in (known[:1] + known[-1:])]
        said = " → ".join(ends if len(known) > 1 else ends[:1]) or "–"
        rows.append((name, sparkline(values), f"{said}{_change(known, directions.get(name, ''))}"))
    yield from columns(rows)
    yield ""
    for entry in shown:
        when = datetime.fromtimestamp(entry.time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        values_said = ", ".join(
            f"{name} {number(value, units.get(name, ''))}" for name, value in entry.metrics.items() if value is not None
        )
        warned = f"  ({len(entry.warnings)} warning{'s' * (len(entry.warnings) > 1)})" if entry.warnings else ""
        yield f"{when}  {entry.artifact[:12]}  {values_said}{warned}"


def _change(known: Sequence[float], direction: str) -> str:
    """What became of the value since the first time."""
    if len(known) < 2 or known[0] == known[-1]:
        return ""
    share = f" ({(known[-1] - known[0]) / abs(known[0]):+.1%}" if known[0] else " (from 0"
    if direction not in ("lower", "higher"):
        return share + ")"
    return share + (", better)" if (known[-1] < known[0]) == (direction == "lower") else ", worse)")
