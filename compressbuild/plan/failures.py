"""Why nodes failed the last time, by key: what a node with this key was asked to do cannot be done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..digest import Digest
from .memo import Memo

__all__ = ["Failed", "Failures"]

_KEPT = 256  # the last ones


class Failed(msgspec.Struct, frozen=True):
    """``error``: one line. ``about``, ``change``: as of a UserError."""

    error: str
    hint: str | None = None
    about: str = ""
    change: Mapping[str, str] = {}


class Failures(Memo[Failed]):
    """A file of the project's ``.cbuild`` directory, ``state``. Losing it loses advice on what failed, nothing else."""

    def __init__(self, state: Path) -> None:
        super().__init__(state / "failures", b"compressbuild-failures-1", Failed)

    def get(self, key: Digest) -> Failed | None:
        return self.known.get(key)

    def record(self, key: Digest, failed: Failed) -> None:
        self.dirty |= self.known.pop(key, None) != failed
        self.known[key] = failed
        while len(self.known) > _KEPT:
            del self.known[next(iter(self.known))]

    def forget(self, key: Digest) -> None:
        """It has a result now."""
        self.dirty |= self.known.pop(key, None) is not None
