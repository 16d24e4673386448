"""The cache directory: its layout on disk, its version, temporary names and the quarantine.

CACHEDIR.TAG        https://bford.info/cachedir/ : backup programs skip the directory
version             the layout's number
cas/ab/<digest>     objects (files, and the trees that list them), mode 0444
ac/ab/<key>         action records; the time of modification is that of the last use
verified            which objects were hashed, and their stat at that time
tmp/                unfinished files and workers' scratch directories
quarantine/         what failed verification
locks/              lock files; their content is empty
env/<digest>        Python environments of plugins' own (compressbuild.environment)
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

from compressbuild.digest import is_digest, read_regular
from compressbuild.errors import StoreError
from compressbuild.store.fs import UNREADABLE, FileSystem, SyncQueue, explained

__all__ = ["CacheDir"]

VERSION = 1
_TAG = b"""Signature: 8a477f597d28d172789f06886806bc55
# This directory is a cache of compressbuild. It may be removed, at the price of building again.
# For information about cache directory tags see https://bford.info/cachedir/
"""
_SUBDIRS = ("tmp", "cas", "ac", "locks", "quarantine")
# What may stand in a directory that is to become a cache: anything else may be precious to somebody.
_TOLERATED = frozenset({"CACHEDIR.TAG", ".gitignore", ".gitkeep", "README.md", "version", "verified", "env", *_SUBDIRS})
_TEMPORARY = re.compile(r"[0-9a-f]+-[0-9a-f]{12}-\d+")


class CacheDir:
    """Names paths in a cache directory, and makes it when it is missing.

    StoreError if it is of a newer version, or is an existing directory of something else.
    """

    def __init__(self, root: str, fs: FileSystem, *, sync: bool) -> None:
        self.root = os.path.abspath(root)
        self.fs = fs
        self.queue = SyncQueue(fs, self.root, enabled=sync)
        self._token = os.urandom(6).hex()
        self._count = count()
        self._shards: set[str] = set()
        self._open()

    def object(self, digest: str) -> str:
        return self._sharded("cas", digest)

    def record(self, key: str) -> str:
        return self._sharded("ac", key)

    def temporary(self) -> str:
        """A path in ``tmp`` that nobody else will use."""
        return f"{self.root}/tmp/{os.getpid():x}-{self._token}-{next(self._count)}"

    def objects(self) -> Iterator[str]:
        """Paths of all files below ``cas``."""
        return self._walk("cas")

    def records(self) -> Iterator[str]:
        """Paths of all files below ``ac``."""
        return self._walk("ac")

    def leftovers(self) -> list[str]:
        """Paths in ``tmp`` that this program made."""
        return [f"{self.root}/tmp/{name}" for name in _names(f"{self.root}/tmp") if _TEMPORARY.fullmatch(name)]

    def own_temporaries(self) -> list[str]:
        """Those of this object."""
        mine = f"{os.getpid():x}-{self._token}-"
        return [path for path in self.leftovers() if os.path.basename(path).startswith(mine)]

    def quarantined(self) -> list[str]:
        return [f"{self.root}/quarantine/{name}" for name in _names(f"{self.root}/quarantine")]

    def quarantine(self, path: str, inode: int | None = None) -> bool:
        """Move a bad file out of the way. That another process did so first is fine. ``inode``: of the file that was
        found bad; False if another one stands there now, which stays."""
        target = f"{self.root}/quarantine/{os.path.basename(path)}.{os.path.basename(self.temporary())}"
        with suppress(FileNotFoundError):
            self.fs.rename(path, target)
            if inode is not None and os.lstat(target).st_ino != inode:
                self.fs.rename(target, path)
                return False
        return True

    def write(self, path: str, data: bytes) -> None:
        """Put a file in its place at once or not at all, through a temporary."""
        temporary = self.temporary()
        try:
            self.fs.write(temporary, data)
            self.queue.move_in(temporary, path)
        except OSError:
            self.discard(temporary)
            raise

    def discard(self, temporary: str) -> None:
        """Remove a temporary file, if it is there."""
        with suppress(FileNotFoundError):
            self.fs.remove(temporary)

    def _sharded(self, area: str, digest: str) -> str:
        if not is_digest(digest):
            raise ValueError(f"not a digest: {digest!r}")
        shard = f"{self.root}/{area}/{digest[:2]}"
        if shard not in self._shards:
            self._clear(shard)
            self._shards.add(shard)
        return f"{shard}/{digest}"

    def _clear(self, directory: str) -> None:
        """Move aside what stands in a directory's place: a file, a link, a pipe. What it hid is built again."""
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.lstat(directory).st_mode):
                self.quarantine(directory)
                self.fs.make_dirs(directory)

    def _walk(self, area: str) -> Iterator[str]:
        for shard in _names(f"{self.root}/{area}"):
            for name in _names(f"{self.root}/{area}/{shard}"):
                yield f"{self.root}/{area}/{shard}/{name}"

    def _open(self) -> None:
        try:
            text = read_regular(f"{self.root}/version")[:64]
        except FileNotFoundError:
            self._create()
            return
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            raise StoreError(
                f"{self.root}/version is not a readable file: {error.strerror}",
                hint="check who owns the cache directory, or choose another with --cache-dir"
                if error.errno == errno.EACCES
                else "if this is a cache, remove that entry: the next build writes it again",
            ) from error
        if text.strip() != b"%d" % VERSION:
            found = text.strip().decode("ascii", "replace") or "an empty file"
            raise StoreError(
                f"the cache {self.root} has version {found}, and this compressbuild knows version {VERSION}",
                hint="upgrade compressbuild, or choose another directory with --cache-dir",
            )
        with explained(f"open the cache {self.root}"):
            for name in ("cas", "ac", "tmp", "locks"):
                self._clear(f"{self.root}/{name}")

    def _create(self) -> None:
        strangers = sorted(set(_names(self.root)) - _TOLERATED)
        if strangers:
            raise StoreError(
                f"{self.root} is not a cache, and not empty (it holds {strangers[0]!r})",
                hint="choose an empty or a new directory with --cache-dir",
            )
        self.queue.make_dir(self.root)
        for name in _SUBDIRS:
            self.queue.make_dir(f"{self.root}/{name}")
        if not os.path.exists(f"{self.root}/CACHEDIR.TAG"):
            self.write(f"{self.root}/CACHEDIR.TAG", _TAG)
        self.write(f"{self.root}/version", b"%d\n" % VERSION)
        self.queue.drain()


def _names(path: str) -> list[str]:
    """Sorted names in a directory; none if there is no such directory."""
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []
