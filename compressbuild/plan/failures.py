"""Why nodes failed the last time, by key: what a node with this key was asked to do cannot be done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..digest import Digest, load_sealed, save_sealed

__all__ = ["Failed", "Failures"]

_MAGIC = b"compressbuild-failures-1"
_KEPT = 256  # the last ones


class Failed(msgspec.Struct, frozen=True):
    """``error``: one line. ``about``, ``change``: as of a UserError."""

    error: str
    hint: str | None = None
    about: str = ""
    change: Mapping[str, str] = {}


class Failures:
    """A file of the project's ``.cbuild`` directory, ``state``. Losing it loses advice on what failed, nothing else."""

    def __init__(self, state: Path) -> None:
        self._path = path = state / "failures"
        self._dirty = False
        self._known: dict[Digest, Failed] = load_sealed(path, _MAGIC, dict[Digest, Failed]) or {}

    def get(self, key: Digest) -> Failed | None:
        return self._known.get(key)

    def record(self, key: Digest, failed: Failed) -> None:
        self._dirty |= self._known.pop(key, None) != failed
        self._known[key] = failed
        while len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]

    def forget(self, key: Digest) -> None:
        """It has a result now."""
        self._dirty |= self._known.pop(key, None) is not None

    def save(self) -> OSError | None:
        """Write the file if anything is new; what prevented it."""
        if not self._dirty:
            return None
        error = save_sealed(self._path, _MAGIC, self._known)
        self._dirty = error is not None
        return error
