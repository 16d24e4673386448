"""Input artifacts on disk: each is materialised once a build, verified, and checked for tampering after every use."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..digest import Digest
from ..store import Store

__all__ = ["Inputs", "Taken"]

Stats = dict[str, tuple[int, int, int, int]]


@dataclass(frozen=True, slots=True)
class Taken:
    """An artifact as one node was given it. ``generation``: how often it was rewritten before."""

    digest: Digest
    path: Path
    generation: int


class Inputs:
    """Read-only directories of artifacts, for the workers of one build. Nodes that run together share them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._base: Path | None = None
        self._stats: dict[Digest, Stats] = {}
        self._taken: dict[Digest, Taken] = {}
        self._generations: dict[Digest, int] = {}

    def get(self, digest: Digest) -> Taken:
        """The directory that holds an artifact. Raises CorruptObject if the cache has other bytes than it should."""
        if (taken := self._taken.get(digest)) is not None:
            return taken
        if self._base is None:
            self._base = self._store.scratch()
        generation = self._generations.get(digest, 0)
        path = self._base / f"{digest}-{generation}"
        self._store.cas.materialise(digest, path)
        self._stats[digest] = _stats(path)
        taken = self._taken[digest] = Taken(digest, path, generation)
        return taken

    def spoiled(self, taken: Taken) -> bool:
        """Whether the directory was given up since: somebody had changed it."""
        return self._generations.get(taken.digest, 0) != taken.generation

    def tampered(self, taken: Taken) -> str | None:
        """A file that was changed since the artifact was written out; the directory is then given up."""
        if self.spoiled(taken):
            return None
        before, after = self._stats[taken.digest], _stats(taken.path)
        if before == after:
            return None
        del self._stats[taken.digest], self._taken[taken.digest]
        self._generations[taken.digest] = taken.generation + 1
        return next(name for name in sorted({*before, *after}) if before.get(name) != after.get(name))

    def close(self) -> None:
        if self._base is not None:
            shutil.rmtree(self._base, ignore_errors=True)


def _stats(path: Path) -> Stats:
    """Of all that is no directory, by its path below ``path``. What cannot be listed holds nothing."""
    found = {}
    pending = [""]
    while pending:
        above = pending.pop()
        with contextlib.suppress(OSError), os.scandir(f"{path}/{above}") as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{above}{entry.name}/")
                    continue
                info = entry.stat(follow_symlinks=False)
                found[above + entry.name] = (info.st_mtime_ns, info.st_size, info.st_ino, info.st_ctime_ns)
    return found
