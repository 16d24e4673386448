"""Input artifacts on disk: each is materialised once a build, verified, and checked for tampering after every use."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..digest import Digest
from ..store import Store

__all__ = ["Inputs"]

Stats = dict[str, tuple[int, int, int]]


class Inputs:
    """Read-only directories of artifacts, by digest, for the workers of one build."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._base: Path | None = None
        self._taken: dict[Digest, Stats] = {}

    def get(self, digest: Digest) -> Path:
        """The directory that holds an artifact. Raises CorruptObject if the cache has other bytes than it should."""
        if self._base is None:
            self._base = self._store.scratch()
        path = self._base / digest
        if digest not in self._taken:
            self._store.cas.materialise(digest, path)
            self._taken[digest] = _stats(path)
        return path

    def tampered(self, digest: Digest) -> str | None:
        """A file of the artifact that somebody changed since it was materialised; the directory is then given up."""
        if self._base is None or digest not in self._taken:
            return None
        before, after = self._taken[digest], _stats(self._base / digest)
        if before == after:
            return None
        del self._taken[digest]
        shutil.rmtree(self._base / digest)
        return next(name for name in sorted({*before, *after}) if before.get(name) != after.get(name))

    def close(self) -> None:
        if self._base is not None:
            shutil.rmtree(self._base, ignore_errors=True)


def _stats(path: Path) -> Stats:
    found = {}
    for base, _, names in os.walk(path):
        for name in names:
            full = os.path.join(base, name)
            info = os.stat(full)
            found[os.path.relpath(full, path)] = (info.st_mtime_ns, info.st_size, info.st_ino)
    return found
