"""Objects as they stand on the disk, for those that look at all of them: gc, fsck and statistics."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress

from compressbuild.digest import Digest, bytes_digest, file_digest, is_digest, read_regular
from compressbuild.store.cachedir import CacheDir
from compressbuild.store.fs import UNREADABLE, explained, reread
from compressbuild.store.tree import Tree
from compressbuild.store.verified import Verified

__all__ = ["Objects", "hash_object"]


class Objects:
    """The files below ``cas``. Nothing here moves or repairs one."""

    def __init__(self, cachedir: CacheDir) -> None:
        self._dir = cachedir
        self.verified = Verified(f"{cachedir.root}/verified")

    def digests(self) -> Iterator[tuple[str, int]]:
        """Digest and size of every object, whether or not it is sound, sorted."""
        for path in self._dir.objects():
            name = os.path.basename(path)
            if is_digest(name) and path == self._dir.object(name):
                with suppress(FileNotFoundError):
                    yield name, os.lstat(path).st_size

    def strays(self) -> Iterator[str]:
        """Paths of files among the objects that are none by their place and name."""
        for path in self._dir.objects():
            name = os.path.basename(path)
            if not is_digest(name) or path != self._dir.object(name):
                yield path

    def rehash(self, digest: Digest) -> int | None:
        """Read an object, whatever its stat says; its size, or None if it is missing or corrupt."""
        path = self._dir.object(digest)
        with explained("read an object"):
            try:
                st = os.lstat(path)
                checked = time.time_ns()
                if not stat.S_ISREG(st.st_mode) or hash_object(path) != digest:
                    return None
            except FileNotFoundError:
                return None
        self.verified.recheck(digest, st, checked)
        return st.st_size

    def peek_tree(self, digest: Digest) -> Tree | None:
        """The tree, or None if it cannot be read; a bad one is left alone."""
        try:
            data = reread(lambda: read_regular(self._dir.object(digest)))
            return Tree.decode(data) if bytes_digest(data) == digest else None
        except (OSError, ValueError):
            return None


def hash_object(path: str) -> Digest | None:
    """The digest of an object's bytes, or None if they cannot be read."""
    try:
        return reread(lambda: file_digest(path))
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        return None
