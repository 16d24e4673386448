"""The log of a node: a regular file, made or emptied when the node starts, read while it runs and after a failure.

What else lies in its place is removed and not opened for long: a pipe would be waited for, a link or a second name
leads to somebody's file.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from ..digest import promptly
from ..errors import CbuildError

__all__ = ["added", "begin", "last_line", "log_path", "note"]

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_TAIL = 4096  # bytes of a log that are searched for its last line
_WIDE = 100  # characters of it


def log_path(directory: Path, position: str) -> Path:
    """Where the node's log lies. Makes the directory; CbuildError if something else lies there."""
    try:
        if not os.path.isdir(directory):
            directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        place = directory if directory.parent.is_dir() else directory.parent
        raise CbuildError(
            f"{place} is not a directory, and the logs of steps belong there", hint="move away what lies there"
        ) from error
    return directory / (re.sub(r"[^\w.@#-]+", "~", position) + ".log")


def begin(log: Path) -> int:
    """A descriptor to append to the empty log. OSError if there can be none."""
    with contextlib.suppress(OSError):
        descriptor = os.open(log, _FLAGS, 0o666)
        try:
            info = os.fstat(descriptor)
            if stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
                os.ftruncate(descriptor, 0)
                return descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
    if log.is_dir() and not log.is_symlink():
        shutil.rmtree(log)
    else:
        log.unlink(missing_ok=True)
    return os.open(log, _FLAGS | os.O_EXCL, 0o666)


def note(log: Path, text: str) -> None:
    """Begin a log with a text. Where there can be none, what it tells of is reported all the same."""
    with contextlib.suppress(OSError):
        os.close(begin(log))
        with added(log) as write:
            write(text.encode("utf-8", errors="backslashreplace"))


@contextlib.contextmanager
def added(log: Path | None) -> Iterator[Callable[[bytes], None]]:
    """What writes to the end of a log that was begun. What it cannot write is lost, and the node goes on."""
    descriptor = -1
    with contextlib.suppress(OSError):
        if log is not None:
            descriptor = os.open(log, _FLAGS, 0o666)
    usable = descriptor >= 0 and stat.S_ISREG(os.fstat(descriptor).st_mode)

    def write(data: bytes) -> None:
        rest = memoryview(data)
        with contextlib.suppress(OSError):
            while usable and rest:
                rest = rest[os.write(descriptor, rest) :]

    try:
        yield write
    finally:
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def last_line(log: Path) -> str:
    """The last line of what a node printed so far; empty if there is none."""
    try:
        with open(log, "rb", opener=promptly) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            text = file.read(_TAIL).decode("utf-8", errors="replace")
    except OSError:  # nothing was started yet
        return ""
    lines = (line.strip() for line in reversed(text.replace("\r", "\n").split("\n")))
    shown = next((line for line in lines if line), "")
    return "".join(c if c.isprintable() else "�" for c in shown[:_WIDE])
