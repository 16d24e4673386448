"""The rows of a metric's ``per_class``: one for each class, slice, or whatever ``rows`` of the result names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["FORM", "rows_fault"]

FORM = "per_class is a dict: name → {'value': number} or {'n': samples, 'correct': how many of them are right}"


def rows_fault(rows: Any) -> str | None:
    """What is wrong with ``per_class``, as the end of a sentence; None: nothing. NaN and None stand for no value."""
    if not isinstance(rows, Mapping):
        return f"'per_class' as a {type(rows).__name__}, not a dict"
    for name, row in rows.items():
        if not isinstance(row, Mapping):
            return f"{row!r:.80} for '{name}' of 'per_class', not a dict"
        for key in ("value", "n", "correct"):
            number = row.get(key)
            if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
                return f"{number!r:.80} as '{key}' of '{name}' in 'per_class', not a number"
    return None
