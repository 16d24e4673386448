"""A profile as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...api import Profile
from ..data.operators import by_type, run_words, slowest, total_us
from .columns import columns

__all__ = ["lines"]


def lines(target: str, profile: Profile, most: int) -> Iterator[str]:
    """What it is of, time by type of operator, then the slowest operators; ``most`` lines of each."""
    total = total_us(profile)
    yield f"{target}: {run_words(profile)}"
    if profile.describe:
        yield ", ".join(f"{key} {value}" for key, value in profile.describe.items())
    types, rows = by_type(profile), slowest(profile)
    yield ""
    yield from _table(("type", "µs", "share", "calls"), [(op, us, calls, "") for op, us, calls in types], total, most)
    if any(row.name != row.op for row in rows):
        yield ""
        operators = [(row.name, row.time_us, row.calls, row.op) for row in rows]
        yield from _table(("operator", "µs", "share", "calls", "type"), operators, total, most)


def _table(
    head: tuple[str, ...], rows: Sequence[tuple[str, float, float, str]], total: float, most: int
) -> Iterator[str]:
    """Rows of (name, µs, calls, type)."""
    shown = [head]
    for name, us, calls, op in rows[:most]:
        shown.append((name, f"{us:,.1f}", f"{us / total:.1%}", f"{calls:g}" if calls else "", op)[: len(head)])
    yield from columns(shown, right=(1, 2, 3))
    if len(rows) > most:
        left = sum(row[1] for row in rows[most:])
        yield f"and {len(rows) - most} more, {left / total:.1%} ('-n {len(rows)}' shows all)"
