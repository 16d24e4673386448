"""File systems that stop, fail and forget at a chosen operation."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from compressbuild.digest import Digest
from compressbuild.store import FileSystem


class Crash(BaseException):
    """The process or the machine stops here: nothing may catch this and go on."""


class FaultyFileSystem(FileSystem):
    """Counts its primitive operations and calls ``fault`` instead of the ``at``-th (from 0); writes and copies are
    then done by half. After a Crash every further operation is one too."""

    def __init__(self, at: int | None, fault: Callable[[], BaseException]) -> None:
        self._at = at
        self._fault = fault
        self.count = 0
        self.crashed = False

    def _step(self, half: Callable[[], object] | None = None) -> None:
        if self.crashed:
            raise Crash
        self.count += 1
        if self.count - 1 == self._at:
            if half is not None:
                half()
            fault = self._fault()
            self.crashed = isinstance(fault, Crash)
            raise fault

    def make_dir(self, path: str) -> None:
        self._step()
        super().make_dir(path)

    def write(self, path: str, data: bytes, mode: int = 0o444) -> None:
        self._step(lambda: FileSystem.write(self, path, data[: len(data) // 2], mode))
        super().write(path, data, mode)

    def copy(self, source: str, path: str, mode: int = 0o444) -> tuple[Digest, int]:
        self._step(lambda: (FileSystem.copy(self, source, path, 0o644), os.truncate(path, os.stat(path).st_size // 2)))
        return super().copy(source, path, mode)

    def rename(self, source: str, path: str) -> None:
        self._step()
        super().rename(source, path)

    def remove(self, path: str) -> None:
        self._step()
        super().remove(path)

    def remove_dir(self, path: str) -> None:
        self._step()
        super().remove_dir(path)

    def set_mode(self, path: str, mode: int) -> None:
        self._step()
        super().set_mode(path, mode)

    def set_used(self, path: str, when_ns: int | None = None) -> None:
        self._step()
        super().set_used(path, when_ns)

    def sync_file(self, path: str) -> None:
        self._step()  # a test's disk need not really be waited for

    def sync_dir(self, path: str) -> None:
        self._step()

    def sync_all(self, path: str) -> bool:
        self._step()
        return True


@dataclass
class _NameChange:
    """A directory entry that the disk may or may not have: ``old`` is what it had before (None: nothing)."""

    path: str
    old: bytes | None


class LossyFileSystem(FaultyFileSystem):
    """Remembers what was not synced, and can lose it as a power failure does: content of files without ``sync_file``,
    entries of directories without ``sync_dir``, in any combination. (Stricter than ext4 or xfs: what POSIX allows.)"""

    def __init__(self, at: int | None) -> None:
        super().__init__(at, Crash)
        self._synced: set[str] = set()
        self._unsynced: set[str] = set()
        self._names: list[_NameChange] = []

    def power_failure(self, seed: int) -> None:
        rng = random.Random(seed)
        for path in sorted(self._unsynced):
            _tear(path, rng)
        for change in reversed(self._names):
            if rng.random() < 0.5:
                _undo(change)

    def make_dir(self, path: str) -> None:
        super().make_dir(path)
        self._names.append(_NameChange(path, None))

    def write(self, path: str, data: bytes, mode: int = 0o444) -> None:
        self._unsynced.add(path)
        self._names.append(_NameChange(path, None))
        super().write(path, data, mode)

    def copy(self, source: str, path: str, mode: int = 0o444) -> tuple[Digest, int]:
        self._unsynced.add(path)
        self._names.append(_NameChange(path, None))
        return super().copy(source, path, mode)

    def rename(self, source: str, path: str) -> None:
        old = _content(path)
        super().rename(source, path)
        (self._synced if source in self._synced else self._unsynced).add(path)
        (self._unsynced if source in self._synced else self._synced).discard(path)
        self._synced.discard(source)
        self._unsynced.discard(source)
        self._names.append(_NameChange(path, old))

    def remove(self, path: str) -> None:
        old = _content(path)
        super().remove(path)
        self._unsynced.discard(path)
        self._names.append(_NameChange(path, old))

    def sync_file(self, path: str) -> None:
        super().sync_file(path)
        self._synced.add(path)
        self._unsynced.discard(path)

    def sync_dir(self, path: str) -> None:
        super().sync_dir(path)
        self._names = [change for change in self._names if os.path.dirname(change.path) != path]

    def sync_all(self, path: str) -> bool:
        done = super().sync_all(path)
        self._synced |= self._unsynced
        self._unsynced.clear()
        self._names.clear()
        return done


def _tear(path: str, rng: random.Random) -> None:
    if not os.path.isfile(path):
        return
    size = os.stat(path).st_size
    match rng.randrange(3):
        case 0:
            os.truncate(path, size // 2)
        case 1:  # the size is there, the blocks are not
            os.truncate(path, 0)
            os.truncate(path, size)


def _undo(change: _NameChange) -> None:
    if os.path.isdir(change.path):
        shutil.rmtree(change.path)
    elif os.path.lexists(change.path):
        os.unlink(change.path)
    if change.old is not None and os.path.isdir(os.path.dirname(change.path)):
        with open(change.path, "wb") as file:
            file.write(change.old)


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, IsADirectoryError):
        return None
