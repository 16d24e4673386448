"""Did you mean …? The one place that guesses."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["closest", "suggest"]

_SHOWN = 8  # names listed when none is close


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like ``word`` (case and ``_``/``-`` do not count), or None if none is near."""
    from difflib import get_close_matches  # only on the way to an error

    folded: dict[str, str] = {}
    for candidate in candidates:
        folded.setdefault(_fold(candidate), candidate)
    found = get_close_matches(_fold(word[:200]), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def suggest(word: str, candidates: Iterable[str], known: str = "known") -> str | None:
    """A hint: ``did you mean 'x'?``, else ``known: a, b, c``, else None when there is nothing to choose from."""
    names = list(candidates)
    near = closest(word, names)
    if near is not None:
        return f"did you mean '{near}'?"
    if not names:
        return None
    more = f", … ({len(names)} in all)" if len(names) > _SHOWN else ""
    return f"{known}: {', '.join(names[:_SHOWN])}{more}"


def _fold(word: str) -> str:
    return word.lower().replace("_", "-")
