"""Hints for words that name nothing."""

from __future__ import annotations

from collections.abc import Iterable

from ..suggest import did_you_mean

__all__ = ["suggest"]

_SHOWN = 14  # names listed when none is close


def suggest(word: str, candidates: Iterable[str], known: str = "known") -> str | None:
    """``did you mean 'x'?``, else ``known: a, b, c``, else None when there is nothing to choose from."""
    names = list(candidates)
    near = did_you_mean(word[:200], names)
    if near is not None:
        return f"did you mean '{near}'?"
    if not names:
        return None
    more = f", … ({len(names)} in all)" if len(names) > _SHOWN else ""
    return f"{known}: {', '.join(names[:_SHOWN])}{more}"
