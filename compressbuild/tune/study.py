"""The points of a search that were tried, in ``.cbuild/tune/``, so that a search goes on where it stopped.

No result is kept here. A point that was tried is built again from the cache, where all of it is, so a changed model,
gate or metric is never judged by what it was before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ..digest import load_sealed, save_sealed
from .space import identity

__all__ = ["Study"]

_MAGIC = b"compressbuild-tune-1"


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    points: list[dict[str, Any]]


class Study:
    """``damaged``: a file was there, and nothing in it can be believed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        kept = load_sealed(path, _MAGIC, _Kept)
        self.damaged = kept is None and path.exists()
        self.points = list(kept.points) if kept is not None else []

    def add(self, point: dict[str, Any]) -> OSError | None:
        """Keep a point; what prevented it."""
        if identity(point) in map(identity, self.points):
            return None
        self.points.append(point)
        return save_sealed(self._path, _MAGIC, _Kept(self.points))
