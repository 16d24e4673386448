"""Why a node runs, as data: which parts of its key changed since it was last built, old → new."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .keys import Parts

__all__ = ["Change", "Explanation", "Reason", "compare", "say"]

Reason = Literal["cached", "first build", "changed", "depends", "lost", "evicted", "requested"]
"""``lost``: the result is known, its bytes are gone or damaged. ``requested``: by --remeasure or --check."""


class Change(msgspec.Struct, frozen=True):
    """One entry of the key that differs. None: it was or is not there."""

    part: str
    name: str
    old: Any
    new: Any


class Explanation(msgspec.Struct, frozen=True):
    """``depends``: positions of the nodes that it waits for."""

    reason: Reason
    changes: tuple[Change, ...] = ()
    depends: tuple[str, ...] = ()
    detail: str = ""


def compare(old: Parts, new: Parts) -> tuple[Change, ...]:
    """Every entry that differs, in the order of the key's table."""
    changes = []
    for part in dict.fromkeys((*new, *old)):
        before, after = old.get(part, {}), new.get(part, {})
        for name in dict.fromkeys((*after, *before)):
            if before.get(name) != after.get(name):
                changes.append(Change(part, name, before.get(name), after.get(name)))
    return tuple(changes)


def _value(value: Any) -> str:
    if value is None:
        return "(absent)"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if len(text) == 64 and all(c in "0123456789abcdef" for c in text):
        return text[:12] + "…"
    return text if len(text) <= 60 else text[:57] + "…"


_NOUN = {
    "parameters": "parameter", "files": "file", "tools": "tool", "facts": "fact", "inputs": "input", "code": "code of",
    "plugin code": "plugin code of", "run": "", "environment": "environment variable",
}  # fmt: skip


def say(change: Change) -> str:
    """A change in one line: ``parameter ratio: 0.3 → 0.5``."""
    noun = _NOUN.get(change.part, change.part)
    return f"{noun} {change.name}: {_value(change.old)} → {_value(change.new)}".strip()
