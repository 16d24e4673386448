"""Where the time of a profile goes: by operator, by type of operator, and outside of them."""

from __future__ import annotations

from ...api import Operator, Profile
from ...words import number

__all__ = ["REST", "by_type", "run_words", "slowest", "total_us"]

REST = "outside operators"


def slowest(profile: Profile) -> list[Operator]:
    """The slowest first."""
    return sorted(profile.operators, key=lambda row: (-row.time_us, row.name))


def by_type(profile: Profile) -> list[tuple[str, float, float]]:
    """(type, µs, calls) of one run, the slowest first, with what no operator accounts for."""
    found: dict[str, tuple[float, float]] = {}
    for row in profile.operators:
        time, calls = found.get(row.op, (0.0, 0.0))
        found[row.op] = (time + row.time_us, calls + row.calls)
    rest = profile.run_us - sum(row.time_us for row in profile.operators)
    if rest > 0:
        found[REST] = (rest, 0.0)
    return sorted(((op, time, calls) for op, (time, calls) in found.items()), key=lambda row: (-row[1], row[0]))


def total_us(profile: Profile) -> float:
    """Time of a run; above 0."""
    return max(profile.run_us, sum(row.time_us for row in profile.operators)) or 1.0


def run_words(profile: Profile) -> str:
    return f"{number(profile.run_us / 1000, 'ms')} a run under the profiler, batch {profile.batch}"
