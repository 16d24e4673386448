"""What each node was built from the last time, by position: the old side of explanations, and how long it took."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..digest import Digest
from .keys import Parts

__all__ = ["Trace", "Traces"]


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
        try:
            self._traces = msgspec.msgpack.decode(path.read_bytes(), type=dict[str, Trace])
        except (OSError, msgspec.DecodeError):  # none yet, or written by another version: start afresh
            self._traces = {}

    def get(self, position: str) -> Trace | None:
        return self._traces.get(position)

    def record(self, positions: list[str], trace: Trace) -> None:
        for position in positions:
            if self._traces.get(position) != trace:
                self._traces[position] = trace
                self._dirty = True

    def all(self) -> Mapping[str, Trace]:
        return self._traces

    def save(self) -> None:
        if self._dirty:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(f".{os.getpid()}")
            temporary.write_bytes(msgspec.msgpack.encode(self._traces))
            os.replace(temporary, self._path)
            self._dirty = False
