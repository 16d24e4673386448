"""What each node was built from the last time, by position: the old side of explanations, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..digest import Digest, load_sealed, save_sealed
from .keys import Parts

__all__ = ["Trace", "Traces"]

_MAGIC = b"compressbuild-traces-1"


class Trace(msgspec.Struct, frozen=True):
    """``seconds`` and ``peak_rss`` (bytes) of the run that made the result."""

    key: Digest
    parts: Parts
    seconds: float = 0.0
    peak_rss: int = 0


class Traces:
    """A file of the project's ``.cbuild`` directory. Losing it loses explanations, nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._dirty = False
        self._traces: dict[str, Trace] = load_sealed(path, _MAGIC, dict[str, Trace]) or {}

    def get(self, position: str) -> Trace | None:
        return self._traces.get(position)

    def record(self, positions: list[str], trace: Trace) -> None:
        for position in positions:
            if self._traces.get(position) != trace:
                self._traces[position] = trace
                self._dirty = True

    def all(self) -> Mapping[str, Trace]:
        return self._traces

    def save(self) -> OSError | None:
        """Write the file if anything is new; what prevented it."""
        if not self._dirty:
            return None
        error = save_sealed(self._path, _MAGIC, self._traces)
        self._dirty = error is not None
        return error
