"""The nearest of some options to a word that is none of them."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(word: str, options: Iterable[str]) -> str | None:
    """The option that ``word`` was probably meant to be, or None. Case and ``_`` for ``-`` count for nothing."""
    import difflib

    folded = {option.lower().replace("_", "-"): option for option in sorted(options, reverse=True)}
    matches = difflib.get_close_matches(word.lower().replace("_", "-"), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None
