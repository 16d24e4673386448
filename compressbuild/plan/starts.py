"""How long processes took to start, by what they import before: the first one that needs torch waits for its import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..digest import load_sealed, save_sealed

__all__ = ["Starts"]

_MAGIC = b"compressbuild-starts-1"


class Starts:
    """A file of the project's ``.cbuild`` directory. Losing it makes one schedule poorer, and nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._dirty = False
        self._known: dict[str, float] = load_sealed(path, _MAGIC, dict[str, float]) or {}
        self._now: dict[str, float] = {}  # of this build, the latest

    def expected(self, preload: Sequence[str]) -> float:
        """Seconds that a process with these modules will take to start: as the last one of this build, or as the
        first one of an earlier build. 0 if none is known."""
        name = " ".join(preload)
        return self._now.get(name, self._known.get(name, 0.0))

    def took(self, preload: Sequence[str], seconds: float) -> None:
        name = " ".join(preload)
        if name not in self._now:
            self._known[name] = seconds
            self._dirty = True
        self._now[name] = seconds

    def save(self) -> OSError | None:
        """Write the file if anything is new; what prevented it."""
        if not self._dirty:
            return None
        error = save_sealed(self._path, _MAGIC, self._known)
        self._dirty = error is not None
        return error
