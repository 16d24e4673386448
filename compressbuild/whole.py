"""Writing a file whole, or not at all: what stood there before is there until the new bytes are on the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

__all__ = ["aside", "write_new", "write_whole"]

_IN_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV}
"""Where the directory refuses what the file may allow: it belongs to others, or the file is a mount of its own."""
_DESCRIPTORS = ("/dev/fd/", "/dev/stdout", "/dev/stderr", "/proc/")
_NEW = ".cbuild-new"
"""What the name of a file ends with that is to take the place of another; before it, the process that writes it."""
_LINKS = 40  # that are followed, as the kernel does


def write_whole(path: str, data: bytes) -> None:
    """Put ``data`` in the place of a file, or make it. Its mode stays; so does a link, and what it leads to is
    replaced. Raises OSError; then what was there is there still.

    A device or a FIFO is written to, without waiting for its reader, and so is what the shell has opened
    (``/dev/stdout``). A file whose directory takes no other is written in its place, and may be left half written.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    place = _followed(path)
    if place is None or (mode is not None and not stat.S_ISREG(mode)):
        _write_in_place(path, data)
        return
    try:
        with aside(place, data) as temporary:
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            os.replace(temporary, place)
    except OSError as error:
        if mode is None or error.errno not in _IN_PLACE:
            raise
        _write_in_place(place, data)


def _followed(path: str) -> str | None:
    """Where the links of ``path`` lead; None if to a descriptor, whose file is written on, not replaced."""
    for _ in range(_LINKS):
        if os.path.abspath(path).startswith(_DESCRIPTORS):
            return None
        if not os.path.islink(path):
            return path
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return path


def write_new(path: str, data: bytes) -> None:
    """Make a file. Raises OSError, FileExistsError if something is there; then nothing was made."""
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    with aside(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links, or a real error, which the next line meets, too
            os.rename(temporary, path)


@contextlib.contextmanager
def aside(place: str, data: bytes) -> Iterator[str]:
    """A file beside ``place`` with the bytes, synced. It is removed at the end, also after a signal."""
    directory, name = os.path.split(place)
    _sweep(directory or ".", f".{name}.")
    temporary = os.path.join(directory, f".{name}.{os.getpid():x}{_NEW}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with open(descriptor, "wb", buffering=0) as file:
            _all(file.fileno(), data)
            os.fsync(file.fileno())
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _sweep(directory: str, prefix: str) -> None:
    """Remove what a killed process, or one on a disk that refused even this, has left beside a file."""
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            if not name.startswith(prefix) or not name.endswith(_NEW):
                continue
            owner = name[len(prefix) : -len(_NEW)]
            with contextlib.suppress(OSError, ValueError):
                if not _alive(int(owner, 16)):
                    os.unlink(os.path.join(directory, name))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _write_in_place(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.set_blocking(descriptor, True)
        _all(descriptor, data)
    finally:
        os.close(descriptor)


def _all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
