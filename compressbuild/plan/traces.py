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
        self._traces: dict[str, Trace | msgspec.Raw] = {**(load_sealed(path, _MAGIC, dict[str, msgspec.Raw]) or {})}

    def get(self, position: str) -> Trace | None:
        """A trace is decoded when it is first asked for: a build of a part asks for few."""
        found = self._traces.get(position)
        if isinstance(found, msgspec.Raw):
            try:
                found = self._traces[position] = msgspec.msgpack.decode(found, type=Trace)
            except ValueError:  # of another shape, by another version
                del self._traces[position]
                return None
        return found

    def record(self, positions: list[str], trace: Trace) -> None:
        for position in positions:
            if self.get(position) != trace:
                self._traces[position] = trace
                self._dirty = True

    def all(self) -> Mapping[str, Trace]:
        found = {position: self.get(position) for position in list(self._traces)}
        return {position: trace for position, trace in found.items() if trace is not None}

    def save(self) -> OSError | None:
        """Write the file if anything is new; what prevented it."""
        if not self._dirty:
            return None
        error = save_sealed(self._path, _MAGIC, self._traces)
        self._dirty = error is not None
        return error
