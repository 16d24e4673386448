"""A small file of the project's ``.cbuild`` directory that remembers something by a name. Losing it costs no result."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar

from ..digest import load_sealed, save_sealed

__all__ = ["Memo"]

T = TypeVar("T")


class Memo(Generic[T]):
    """``known``: what is remembered; whoever changes it sets ``dirty``. ``magic`` names the format of the file, and
    ``kind`` is the type of a value in it."""

    def __init__(self, path: Path, magic: bytes, kind: Any) -> None:
        self._path, self._magic = path, magic
        self.known: dict[str, T] = load_sealed(path, magic, dict[str, kind]) or {}
        self.dirty = False

    def save(self) -> OSError | None:
        """Write the file if anything is new; what prevented it."""
        if not self.dirty:
            return None
        error = save_sealed(self._path, self._magic, self.known)
        self.dirty = error is not None
        return error
