"""What the last search of a target found, as the report shows it: kept in ``.cbuild/searched/`` by ``cbuild tune``.

These are numbers of that moment. A search reads none of them: it builds each point again, from the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...digest import load_sealed, save_sealed

__all__ = ["Searched", "Tried", "keep", "kept"]

_MAGIC = b"compressbuild-searched-1"
_PLACE = "searched"


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """A trial. ``parameters``: by their labels. ``values``: metric → what was measured; of an objective that counts by
    its ratio to the baseline, that ratio. ``limits``: metric → where a gate lies, in the same terms."""

    number: int
    parameters: dict[str, Any]
    state: Literal["feasible", "infeasible", "failed"]
    values: dict[str, float] = {}
    limits: dict[str, list[float]] = {}
    reason: str = ""


class Searched(msgspec.Struct, frozen=True, kw_only=True):
    """``objectives``: metric → ``minimize`` or ``maximize``; ``units`` and ``relative``: of metrics. ``front`` and
    ``chosen``: numbers of trials. ``across`` and ``up``: the metrics of the plot's axes."""

    time: float
    objectives: dict[str, str]
    trials: tuple[Tried, ...]
    front: tuple[int, ...]
    chosen: int | None
    units: dict[str, str] = {}
    relative: tuple[str, ...] = ()
    across: str = ""
    up: str = ""


def keep(state: Path, target: str, found: Searched) -> OSError | None:
    """Keep what a search found instead of what the one before did; what prevented it."""
    return save_sealed(state / _PLACE / target, _MAGIC, found)


def kept(state: Path, target: str) -> Mapping[str, Any] | None:
    """As JSON values; None if the target was never searched, or the record is damaged."""
    found = load_sealed(state / _PLACE / target, _MAGIC, Searched)
    made: Mapping[str, Any] | None = msgspec.to_builtins(found) if found is not None else None
    return made
