"""The file-system seam: every write, sync, rename and removal of the store is a method of ``FileSystem``.

Tests inject faults by subclassing it. Reading needs no seam: what is read is verified by its digest.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TypeVar

from blake3 import blake3

from compressbuild.digest import Digest, file_digest
from compressbuild.errors import StoreError

__all__ = ["UNREADABLE", "FileSystem", "SyncQueue", "explained", "reread"]

T = TypeVar("T")

_CHUNK = 1 << 20
_FICLONE = 0x40049409  # linux/fs.h: share the extents of another file, copy on write
_CLONE_FROM = 64 << 10
_SYNCFS_FROM = 64
_SEVERAL = 16  # files from which it is worth a try, if they take long one by one
_LONG = 0.03  # seconds
_FADES = 0.9  # of what it once took, at each time that it was not tried
_LONG_PATH = 2000  # of the 4,095 bytes that the system takes

# What reading says of a bad block, of something that is no regular file, and of what its owner keeps to himself.
UNREADABLE = (errno.EIO, errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.ENXIO, errno.EACCES)

_HINTS = {
    errno.ENOSPC: "free some space, or run `cbuild cache gc --max-size SIZE`",
    errno.EDQUOT: "free some of your quota, or run `cbuild cache gc --max-size SIZE`",
    errno.EACCES: "check who owns the cache directory, or choose another with --cache-dir",
    errno.EPERM: "check who owns the cache directory, or choose another with --cache-dir",
    errno.EROFS: "the cache is on a read-only file system: choose another with --cache-dir",
    errno.EIO: "the disk reports errors: check it, then run `cbuild cache verify`",
}


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn an OSError into a StoreError that says what was being done and what may help."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise StoreError(
            f"cannot {doing}: {error.strerror or error}{where}", hint=_HINTS.get(error.errno or 0)
        ) from error


def reread(read: Callable[[], T]) -> T:
    """What ``read`` gives, the second time if it cannot read at first: what cannot be read counts as damaged, and some
    errors of a disk or of a server pass."""
    try:
        return read()
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
    return read()


class FileSystem:
    """The real one. Paths are strings; failures are OSErrors; created files are never inherited or followed."""

    def make_dir(self, path: str) -> None:
        """Make one directory; FileExistsError if it exists."""
        os.mkdir(path)

    def write(self, path: str, data: bytes, mode: int = 0o444) -> None:
        """Write a new file; FileExistsError if it exists."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        try:
            _write_all(fd, data)
        finally:
            os.close(fd)

    def copy(self, source: str, path: str, mode: int = 0o444) -> tuple[Digest, int]:
        """Copy a regular file into a new one, by reflink where the file system can. Digest and size of what was
        *written*, so that a caller who compares them needs no further look at the source."""
        src = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            st = os.fstat(src)
            if not stat.S_ISREG(st.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", source)
            dst = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
            try:
                if not (st.st_size >= _CLONE_FROM and _clone(src, dst)):
                    return _copy_hashing(src, dst, source)
                size = os.fstat(dst).st_size
            finally:
                os.close(dst)
        finally:
            os.close(src)
        return file_digest(path), size

    def rename(self, source: str, path: str) -> None:
        """Atomically replace ``path``."""
        os.rename(source, path)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def remove_dir(self, path: str) -> None:
        os.rmdir(path)

    def set_mode(self, path: str, mode: int) -> None:
        os.chmod(path, mode)

    def set_used(self, path: str, when_ns: int | None = None) -> None:
        """Set the time of modification, which for an action record is that of its last use; None: now."""
        when = time.time_ns() if when_ns is None else when_ns
        os.utime(path, ns=(when, when), follow_symlinks=False)

    def sync_file(self, path: str) -> None:
        _sync(path, os.O_RDONLY)

    def sync_dir(self, path: str) -> None:
        _sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def sync_all(self, path: str) -> bool:
        """Sync all of the file system that holds ``path`` (Linux ``syncfs``); False where there is no such call."""
        syncfs = _syncfs()
        if syncfs is None:
            return False
        fd = os.open(path, os.O_RDONLY)
        try:
            syncfs(fd)
        finally:
            os.close(fd)
        return True

    def remove_tree(self, path: str) -> None:
        """Remove a directory and what is in it, or a file, following no link. Missing is fine.

        Somebody may have nested directories deeper than recursion or a path can go: those are moved up first.
        """
        try:
            self.remove_dir(path)  # most are empty, and none of those has to be read
            return
        except FileNotFoundError:
            return
        except NotADirectoryError:
            self.remove(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        found = [path]
        for directory in found:  # grows meanwhile
            try:
                found += self._empty(directory, path)
            except PermissionError:  # its owner may have taken his own rights away
                self.set_mode(directory, 0o700)
                found += self._empty(directory, path)
        for directory in reversed(found):
            self.remove_dir(directory)

    def _empty(self, directory: str, top: str) -> list[str]:
        """Remove what is in a directory but its directories, and return those; one with a long path is moved to
        ``top``."""
        inner = []
        for name in os.listdir(directory):
            path = f"{directory}/{name}"
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                self.remove(path)
                continue
            if len(path) > _LONG_PATH:
                short = f"{top}/{os.urandom(8).hex()}"
                self.rename(path, short)
                path = short
            inner.append(path)
        return inner

    def make_dirs(self, path: str) -> None:
        """Make a directory and its parents; existing ones are fine."""
        try:
            self.make_dir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
        except FileNotFoundError:
            if os.path.isdir(os.path.dirname(path)):  # a file system that lets nobody make directories, as /proc
                raise
            self.make_dirs(os.path.dirname(path))
            self.make_dirs(path)


class Pace:
    """Whether files reach the disk sooner one by one, or with all of their file system.

    Each sync of a small file waits for a journal of its own, and a sync of everything for one. But that also waits for
    what other programs have written, so what it took decides whether it is used again."""

    def __init__(self) -> None:
        self._each: float | None = None  # seconds for one
        self._all: float | None = None

    def prefers_all(self, count: int) -> bool:
        each = self._each or 0.0
        if self._all is None:
            return count >= _SYNCFS_FROM or (count >= _SEVERAL and count * each > _LONG)
        return count > 1 and (count * each > self._all if each else count >= _SYNCFS_FROM)

    def took_each(self, seconds: float) -> None:
        self._each = _mean(self._each, seconds)
        if self._all is not None:
            self._all *= _FADES  # other programs come to an end: it is tried again at some time

    def took_all(self, seconds: float) -> None:
        self._all = _mean(self._all, seconds)


def _mean(old: float | None, new: float) -> float:
    return new if old is None else (old + new) / 2


class SyncQueue:
    """What must reach the disk before the next action record may. ``enabled``: False leaves it to the kernel.

    ``deferring``: new files are not synced one by one before their rename but together in ``drain``; until then
    nothing durable refers to them.
    """

    def __init__(self, fs: FileSystem, root: str, *, enabled: bool, pace: Pace | None = None) -> None:
        """``pace``: of another queue on the same file system."""
        self._root = root
        self.enabled = enabled
        self.pace = pace or Pace()
        self.deferring = False
        self._fs = fs
        self._files: set[str] = set()
        self._dirs: set[str] = set()

    def move_in(self, temporary: str, path: str) -> None:
        """Rename a finished file to its place, synced before or to be synced in ``drain``."""
        if self.enabled and not self.deferring:
            self._fs.sync_file(temporary)
        self.rename(temporary, path)
        if self.deferring:
            self.add(path)

    def rename(self, temporary: str, path: str) -> None:
        """Rename a file to its place, whose directory is made if need be and synced in ``drain``."""
        try:
            self._fs.rename(temporary, path)
        except FileNotFoundError:
            self.make_dir(os.path.dirname(path))
            self._fs.rename(temporary, path)
        self._changed(path)

    def make_dir(self, path: str) -> None:
        self._fs.make_dirs(path)
        self._changed(path)

    def add(self, path: str) -> None:
        """Sync this file, and its name in its directory, in ``drain``."""
        self.add_content(path)
        self._changed(path)

    def add_dir(self, path: str) -> None:
        """Sync the names in this directory, in ``drain``."""
        if self.enabled:
            self._dirs.add(path)

    def add_content(self, path: str) -> None:
        """Sync this file in ``drain``, but not its name, which is a temporary one."""
        if self.enabled:
            self._files.add(path)

    def drain(self) -> None:
        """Return once all that was added is on the disk. After an error the queue is as before."""
        count = len(self._files) + len(self._dirs)
        if not count:
            return
        began = time.monotonic()
        if self.pace.prefers_all(count) and self._fs.sync_all(self._root):
            self.pace.took_all(time.monotonic() - began)
        else:
            for path in sorted(self._files):
                with suppress(FileNotFoundError):  # quarantined or replaced since: verification finds its absence
                    self._fs.sync_file(path)
            for path in sorted(self._dirs):
                self._fs.sync_dir(path)
            self.pace.took_each((time.monotonic() - began) / count)
        self._files.clear()
        self._dirs.clear()

    def __bool__(self) -> bool:
        return bool(self._files or self._dirs)

    def _changed(self, path: str) -> None:
        self.add_dir(os.path.dirname(path))


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def _copy_hashing(src: int, dst: int, source: str) -> tuple[Digest, int]:
    hasher, size = blake3(), 0
    while data := _read(src, source):
        hasher.update(data)
        _write_all(dst, data)
        size += len(data)
    return hasher.hexdigest(), size


def _read(src: int, source: str) -> bytes:
    """Some bytes. The error of reading names the file, as that of opening does; that of writing names none."""
    try:
        return os.read(src, _CHUNK)
    except OSError as error:
        error.filename = source
        raise


def _clone(src: int, dst: int) -> bool:
    try:
        fcntl.ioctl(dst, _FICLONE, src)
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise
        return False  # another file system, or one without reflinks
    return True


def _sync(path: str, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@cache
def _syncfs() -> Callable[[int], None] | None:
    import ctypes  # 10 ms, needed for big batches only

    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        return None

    def syncfs(fd: int) -> None:
        if call(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return syncfs
