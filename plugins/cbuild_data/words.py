"""Names in messages."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

__all__ = ["listed", "meant"]

_SHOWN = 12


def meant(name: str, known: Collection[str], what: str) -> str:
    """A hint for a name that is not there. ``what``: what the ``known`` are."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean '{near[0]}'?" if near else f"its {what}: {listed(known) or 'none'}"


def listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
