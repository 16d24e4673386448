"""Locks between processes, by ``flock``: the kernel releases them when their holder dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import os
import weakref
from types import TracebackType

from compressbuild.digest import is_digest
from compressbuild.errors import StoreError

__all__ = ["READ_ONLY", "ActionLocks", "Lock", "SharedExclusive"]

# What a cache of somebody else, or a read-only disk, answers to a writer.
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Lock:
    """A held lock: ``release`` it, or use it as a context manager. It does not outlive the process that took it: a
    forked child does not share it."""

    def __init__(self, fd: int, remove: str | None = None) -> None:
        self._fd = fd
        self._remove = remove
        _held.add(self)

    @property
    def held(self) -> bool:
        return self._fd >= 0

    def release(self) -> None:
        """Let go; once is enough, twice is harmless."""
        if self._fd < 0:
            return
        if self._remove is not None and _same_file(self._fd, self._remove):
            os.unlink(self._remove)  # while it is held: a waiter that has the old file open sees that it is gone
        self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        _held.discard(self)
        os.close(fd)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.release()

    def __del__(self) -> None:
        if self._fd >= 0:
            self._close()


# A flock belongs to the open file, which fork shares: an orphaned child would keep its dead parent's locks.
_held: weakref.WeakSet[Lock] = weakref.WeakSet()


def _close_in_child() -> None:
    for lock in list(_held):
        lock._close()


os.register_at_fork(after_in_child=_close_in_child)


class ActionLocks:
    """One lock per action key, as a file in ``directory`` that exists while the lock is held (or since a crash)."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def try_acquire(self, key: str) -> Lock | None:
        """The lock, or None while anyone else holds it, be it in this process."""
        if not is_digest(key):
            raise ValueError(f"not a digest: {key!r}")
        path = f"{self._directory}/{key}"
        while True:
            fd = _open(path)
            if not _flock(fd, fcntl.LOCK_EX, path):
                os.close(fd)
                return None
            if _same_file(fd, path):
                return Lock(fd, remove=path)
            os.close(fd)  # its last holder removed it between our open and our lock


class SharedExclusive:
    """A lock that many may share or one may have alone: builds and gc, or work and measuring."""

    def __init__(self, path: str) -> None:
        self._path = path

    def try_shared(self) -> Lock | None:
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> Lock | None:
        return self._try(fcntl.LOCK_EX)

    def _try(self, how: int) -> Lock | None:
        fd = _open(self._path)
        if _flock(fd, how, self._path):
            return Lock(fd)
        os.close(fd)
        return None


def _open(path: str) -> int:
    try:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a reader can lock all the same
    except OSError as error:
        hint = None
        if error.errno in (errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ENOTDIR):
            hint = "something else is in its place: remove it, and cbuild makes the lock file"
        elif error.errno in READ_ONLY:
            hint = "check who owns the cache directory, or choose another with --cache-dir"
        raise StoreError(f"cannot open the lock file {path}: {error.strerror}", hint=hint) from error


def _flock(fd: int, how: int, path: str) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        os.close(fd)
        nowhere = error.errno in (errno.ENOLCK, errno.EOPNOTSUPP)
        hint = "put the cache on a file system that has locks, a local one: --cache-dir" if nowhere else None
        raise StoreError(f"cannot lock {path}: {error.strerror}", hint=hint) from error
    return True


def _same_file(fd: int, path: str) -> bool:
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
