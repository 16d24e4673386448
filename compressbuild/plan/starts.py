"""How long processes took to start, by what they import before: the first one that needs torch waits for its import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .memo import Memo

__all__ = ["Starts"]


class Starts(Memo[float]):
    """A file of the project's ``.cbuild`` directory. Losing it makes one schedule poorer, and nothing else."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, b"compressbuild-starts-1", float)
        self._now: dict[str, float] = {}  # of this build, the latest

    def expected(self, preload: Sequence[str]) -> float:
        """Seconds that a process with these modules will take to start: as the last one of this build, or as the
        first one of an earlier build. 0 if none is known."""
        name = " ".join(preload)
        return self._now.get(name, self.known.get(name, 0.0))

    def took(self, preload: Sequence[str], seconds: float) -> None:
        name = " ".join(preload)
        if name not in self._now:
            self.known[name] = seconds
            self.dirty = True
        self._now[name] = seconds
