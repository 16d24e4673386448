"""Two logs of a service that ran both artifacts on the same requests.

One JSON object a line: ``{"id": "r1", "correct": true, "latency": 12.5}``; ``id`` is required, of the others those that
are there are compared. Other fields are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..digest import read_named
from ..errors import UsageError
from .compare import Comparison, Quality, Speed, compare_quality, paired_speed

__all__ = ["Entry", "compare_logs", "read_log"]


_TIME = "response time"  # what a log's 'latency' is


class Entry(msgspec.Struct, frozen=True):
    """``correct``: whether the answer was right; ``latency``: in any unit, the same in both logs."""

    id: str | int
    correct: bool | int | None = None
    latency: float | None = None


def read_log(path: Path) -> dict[str | int, Entry]:
    """By id. UsageError with file and line for a line that is not such an object, or an id that comes twice."""
    found: dict[str | int, Entry] = {}
    try:
        lines = read_named(path).splitlines()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            hint = 'a line is {"id": …, "correct": true or false, "latency": number}'
            raise UsageError(f"{path}:{number}: {error}", hint=hint) from error
        if entry.correct not in (None, 0, 1):
            raise UsageError(f"{path}:{number}: 'correct' is {entry.correct}, not true or false (or 1 or 0)")
        if entry.latency is not None and not 0 < entry.latency < math.inf:
            raise UsageError(f"{path}:{number}: 'latency' is {entry.latency:g}; it must be above 0")
        if entry.id in found:
            raise UsageError(f"{path}:{number}: the id {entry.id!r} occurs twice", hint="give each request its own id")
        found[entry.id] = entry
    if not found:
        raise UsageError(f"{path} is empty")
    return found


def compare_logs(first: Path, second: Path) -> Comparison:
    """Paired by id; ids that only one of the logs has are counted as missing."""
    a, b = read_log(first), read_log(second)
    shared = [key for key in a if key in b]
    if not shared:
        raise UsageError(f"{first} and {second} have no id in common", hint="both must have answered the same requests")
    missing = {}
    alone = len(a) + len(b) - 2 * len(shared)
    if alone:
        missing["requests"] = f"{alone} of {len(a) + len(b) - len(shared)} ids are in one log only, and left out"
    judged = [key for key in shared if a[key].correct is not None and b[key].correct is not None]
    timed = [key for key in shared if a[key].latency is not None and b[key].latency is not None]
    if not judged:
        missing["quality"] = "no id has 'correct' in both logs"
    if not timed:
        missing["speed"] = "no id has 'latency' in both logs"
    return Comparison(
        first=str(first),
        second=str(second),
        quality=_quality(a, b, judged) if judged else None,
        speed=_speed(a, b, timed) if timed else None,
        missing=missing,
    )


def _quality(a: Mapping[str | int, Entry], b: Mapping[str | int, Entry], keys: list[str | int]) -> Quality:
    return compare_quality("correct", [bool(a[k].correct) for k in keys], [bool(b[k].correct) for k in keys], keys)


def _speed(a: Mapping[str | int, Entry], b: Mapping[str | int, Entry], keys: list[str | int]) -> Speed:
    return paired_speed(_TIME, [a[k].latency or 0 for k in keys], [b[k].latency or 0 for k in keys])
