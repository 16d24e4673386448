"""A power failure under a whole build: the disk has what was synced, and any part of the rest.

Directories are followed by inode, so a renamed directory may be at its new place, its old one, both or none. It needs
a file system that does not use a number again (tmpfs).
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

__all__ = ["CUT", "PROJECT", "Disk", "blind_to_inodes", "cut_at", "lose"]

CUT = 77
"""Exit status of a process whose machine lost power."""
PROJECT = """
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length]}
targets:
  a: {from: f, steps: [{toy.mix: {salt: 1, modulus: 1000}}]}
  b: {from: a, steps: [{toy.mix: {salt: 2, modulus: 1000}}]}
"""
"""What is built when the power fails: one target upon another."""
_CHANGES = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")


@dataclass
class Disk:
    """What is certain to survive. ``files``: inode → bytes, mode and time; ``folders``: inode → name → inode."""

    root: str
    files: dict[int, tuple[bytes, int, int]] = field(default_factory=dict)
    folders: dict[int, dict[str, int]] = field(default_factory=dict)

    def sync_all(self) -> None:
        for base, _, names in os.walk(self.root):
            self.sync(base)
            for name in names:
                self.sync(os.path.join(base, name))

    def sync(self, path: str | int) -> None:
        try:
            info = os.stat(path) if isinstance(path, int) else os.lstat(path)
            if stat.S_ISDIR(info.st_mode):
                with os.scandir(path) as entries:
                    self.folders[info.st_ino] = {
                        entry.name: entry.inode() for entry in entries if not entry.is_symlink()
                    }
            elif stat.S_ISREG(info.st_mode):
                with open(f"/proc/self/fd/{path}" if isinstance(path, int) else path, "rb") as file:
                    self.files[info.st_ino] = (file.read(), stat.S_IMODE(info.st_mode), info.st_mtime_ns)
        except FileNotFoundError:  # another thread has moved it
            pass


@contextmanager
def cut_at(disk: Disk, at: int | None, log: Path, *, blind: bool = False) -> Iterator[None]:
    """Children that are forked meanwhile end at their ``at``-th change (None: never), and leave ``disk`` in ``log``.

    ``blind``: syncs do nothing, as if the code had none.
    """
    count = 0
    mutex = threading.RLock()

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count
            with mutex:
                count += 1
                if at is not None and count > at:
                    save()
                    os._exit(CUT)
                if name == "fsync":
                    if not blind:
                        disk.sync(args[0])
                    return None
            return real(*args, **options)

        return call

    def save() -> None:
        log.write_bytes(msgspec.msgpack.encode((disk, count)))

    def sync_all(_: int) -> None:
        with mutex:
            if not blind:
                disk.sync_all()

    leave = os._exit

    def left(code: int) -> None:
        if code != CUT:
            save()
        leave(code)

    with ExitStack() as stack:
        for name in _CHANGES:
            stack.enter_context(mock.patch(f"os.{name}", counted(name, getattr(os, name))))
        stack.enter_context(mock.patch("compressbuild.store.fs._syncfs", return_value=sync_all))
        stack.enter_context(mock.patch("os._exit", left))
        yield


def lose(root: Path, log: Path, rng: random.Random) -> int:
    """Make ``root`` what a disk may hold after the failure. The number of changes until then."""
    disk, count = msgspec.msgpack.decode(log.read_bytes(), type=tuple[Disk, int])
    now = Disk(str(root))
    now.sync_all()
    spare = root.with_name(root.name + ".after")
    _Loss(disk, now, rng).folder(spare, root.stat().st_ino)
    shutil.rmtree(root)
    spare.rename(root)
    return count


class _Loss:
    """Chooses, for each name and each file, between what is certain and what was only in memory."""

    def __init__(self, disk: Disk, now: Disk, rng: random.Random) -> None:
        self._disk, self._now, self._rng = disk, now, rng
        self._rate = rng.choice((0.1, 0.5, 0.9))  # of what is lost: little, so that most of it stands, or nearly all

    def folder(self, path: Path, inode: int) -> None:
        path.mkdir()
        certain = self._disk.folders.get(inode, {})
        cached = self._now.folders.get(inode, certain)  # a removal may not have come to pass
        for name in sorted({*certain, *cached}):
            entry = (certain if self._rng.random() < self._rate else cached).get(name)
            if entry is None:
                continue
            if entry in self._disk.folders or entry in self._now.folders:
                self.folder(path / name, entry)
            else:
                self._file(path / name, self._disk.files.get(entry), self._now.files.get(entry))

    def _file(self, path: Path, certain: tuple[bytes, int, int] | None, cached: tuple[bytes, int, int] | None) -> None:
        data, mode, when = cached or certain or (b"", 0o644, 0)
        if (certain is None or data != certain[0]) and self._rng.random() < self._rate:
            lost = [data[: len(data) // 2], b"", bytes(len(data))]  # the last: its size is there, its blocks are not
            data = self._rng.choice([*lost, certain[0]] if certain else lost)
        path.write_bytes(data)
        path.chmod(mode)
        os.utime(path, ns=(when, when))


@contextmanager
def blind_to_inodes() -> Iterator[None]:
    """The disk after the failure is a copy. Files are known by size and time of change, as if it were the same one."""
    from compressbuild import noop
    from compressbuild.digest import FileStat

    class Posix:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name, None) or getattr(noop_posix, name)

        def stat(self, path: str) -> Any:
            info = os.stat(path)
            return mock.Mock(
                st_mtime_ns=info.st_mtime_ns, st_size=info.st_size, st_ino=1, st_ctime_ns=1, st_mode=info.st_mode
            )

    noop_posix = noop.posix

    def of(info: os.stat_result, checked: int) -> FileStat:
        return FileStat(info.st_mtime_ns, info.st_size, 1, 1, checked)

    def matches(self: FileStat, info: os.stat_result) -> bool:
        return (self.mtime_ns, self.size) == (info.st_mtime_ns, info.st_size)

    with (
        mock.patch.object(FileStat, "of", of),
        mock.patch.object(FileStat, "matches", matches),
        mock.patch.object(noop, "posix", Posix()),
    ):
        yield
