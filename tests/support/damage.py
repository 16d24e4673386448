"""What can happen to a file: other bytes in it, or something else in its place."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

OTHER = b"other bytes, of something else entirely\n"
Damage = Callable[[Path, Path, random.Random], None]
"""Is given the file, an empty directory outside of the project, and chance."""


def _as_rot(change: Callable[[Path, random.Random], None]) -> Damage:
    """Mode and times stay as they were, and the size if the change leaves it."""

    def damaged(path: Path, spare: Path, rng: random.Random) -> None:
        info = path.stat()
        path.chmod(0o644)
        change(path, rng)
        path.chmod(stat.S_IMODE(info.st_mode))
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))

    return damaged


def _flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes() or b"\0")
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def _truncate(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(max(1, path.stat().st_size)))


def _append(path: Path, rng: random.Random) -> None:
    with path.open("ab") as file:
        file.write(rng.randbytes(rng.randint(1, 9)))


def _garbage(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.randbytes(max(1, path.stat().st_size)))


def _swap(path: Path, spare: Path, rng: random.Random) -> None:
    """With another file nearby: both are whole, and in the wrong place."""
    others = [
        other
        for other in sorted(path.parents[1].rglob("*"))
        if other.is_file() and other.name not in (path.name, "version")
    ]
    other = rng.choice(others)
    path.rename(spare / "kept")
    other.rename(path)
    shutil.move(spare / "kept", other)


def _link_to_equal(path: Path, spare: Path, rng: random.Random) -> None:
    path.rename(spare / "kept")
    path.symlink_to(spare / "kept")


def _link_to(target: str) -> Damage:
    def linked(path: Path, spare: Path, rng: random.Random) -> None:
        path.unlink()
        path.symlink_to(target)

    return linked


def _loop(path: Path, spare: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _directory(path: Path, spare: Path, rng: random.Random) -> None:
    path.unlink()
    (path / "inner").mkdir(parents=True)
    (path / "inner" / "file").write_bytes(OTHER)


def _fifo(path: Path, spare: Path, rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _socket(path: Path, spare: Path, rng: random.Random) -> None:
    path.unlink()
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as made:  # the whole path would be too long
        made.bind("s")
        os.rename("s", path.name)


def _device(path: Path, spare: Path, rng: random.Random) -> None:
    """One that can be read without an end, or a link to it where only root makes devices."""
    path.unlink()
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        path.symlink_to("/dev/zero")


def _hard_link(path: Path, spare: Path, rng: random.Random) -> None:
    """Another name of a file elsewhere, whose owner changes it in place."""
    path.unlink()
    (spare / "elsewhere").write_bytes(OTHER)
    os.link(spare / "elsewhere", path)


def _second_name(path: Path, spare: Path, rng: random.Random) -> None:
    """Right bytes, and somebody else can change them."""
    os.link(path, spare / "elsewhere")


def _unreadable(path: Path, spare: Path, rng: random.Random) -> None:
    path.chmod(0)


def _foreign(path: Path, spare: Path, rng: random.Random) -> None:
    """Of another user, who keeps it to himself."""
    path.chmod(0o600)
    with contextlib.suppress(PermissionError):  # only root gives files away
        os.chown(path, 65534, 65534)


def _gone(path: Path, spare: Path, rng: random.Random) -> None:
    path.unlink()


DAMAGES: dict[str, Damage] = {
    "flip": _as_rot(_flip),
    "truncate": _as_rot(_truncate),
    "append": _as_rot(_append),
    "garbage": _as_rot(_garbage),
    "swap": _swap,
    "link to equal": _link_to_equal,
    "link to foreign": _link_to("/etc/passwd"),
    "link to nothing": _link_to("nowhere"),
    "loop": _loop,
    "directory": _directory,
    "fifo": _fifo,
    "socket": _socket,
    "device": _device,
    "hard link": _hard_link,
    "second name": _second_name,
    "unreadable": _unreadable,
    "foreign": _foreign,
    "gone": _gone,
}
HARMLESS = frozenset({"second name"})
"""The bytes stay right."""


class Hang(BaseException):
    """Nothing may catch it and go on."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is inside ends by then; a call that would never return is interrupted, and once a second from then on, as
    a destructor or a callback of C code swallows what is raised in it."""

    def stop(*_: object) -> None:
        raise Hang(f"hung for {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    began = time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # of the limit of the whole test
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 0.001), interval)


_VERSION_3 = 0x20080522
_OVERRIDES = (1 << 1) | (1 << 2)  # linux/capability.h: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextlib.contextmanager
def modes_count() -> Iterator[None]:
    """Root reads every file, whatever its mode: inside, this thread is refused like anybody else."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
    if libc.capget(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), "capget")
    whole = sets[0].effective
    sets[0].effective = whole & ~_OVERRIDES
    if libc.capset(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), "capset")
    try:
        yield
    finally:
        sets[0].effective = whole
        if libc.capset(ctypes.byref(header), sets):
            raise OSError(ctypes.get_errno(), "capset")
