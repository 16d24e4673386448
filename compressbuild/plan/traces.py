"""What each node was built from the last time, by position: the old side of explanations, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..digest import Digest
from .keys import Parts
from .memo import Memo

__all__ = ["Trace", "Traces"]


class Trace(msgspec.Struct, frozen=True):
    """``seconds`` and ``peak_rss`` (bytes) of the run that made the result."""

    key: Digest
    parts: Parts
    seconds: float = 0.0
    peak_rss: int = 0


class Traces(Memo[Trace | msgspec.Raw]):
    """A file of the project's ``.cbuild`` directory. Losing it loses explanations, nothing else."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, b"compressbuild-traces-1", msgspec.Raw)

    def get(self, position: str) -> Trace | None:
        """A trace is decoded when it is first asked for: a build of a part asks for few."""
        found = self.known.get(position)
        if isinstance(found, msgspec.Raw):
            try:
                found = self.known[position] = msgspec.msgpack.decode(found, type=Trace)
            except ValueError:  # of another shape, by another version
                del self.known[position]
                return None
        return found

    def record(self, positions: list[str], trace: Trace) -> None:
        for position in positions:
            if self.get(position) != trace:
                self.known[position] = trace
                self.dirty = True

    def all(self) -> Mapping[str, Trace]:
        found = {position: self.get(position) for position in list(self.known)}
        return {position: trace for position, trace in found.items() if trace is not None}
