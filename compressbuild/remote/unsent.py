"""The actions whose results this checkout has still to send: a file for each, so that a killed build, or one without a
network, leaves word for the next. It holds the names of the objects that were found damaged there, if any: the next
process would take them for sound, as they have the right size."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ..digest import Digest, is_digest

__all__ = ["Unsent"]

_NOTE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO in its place is not waited for
_LIMIT = 1 << 20  # characters of a note that are read


class Unsent:
    """The notes in a directory. Where none can be written, `cbuild cache push` still sends the results."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made = False

    def add(self, key: Digest, bad: Collection[str] = ()) -> None:
        with suppress(OSError):
            if not self._made:
                self._directory.mkdir(parents=True, exist_ok=True)
                self._made = True
            descriptor = os.open(self._directory / key, _NOTE | os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            with open(descriptor, "a", encoding="utf-8") as file:
                file.writelines(f"{name}\n" for name in bad)

    def remove(self, key: Digest) -> None:
        with suppress(OSError):
            (self._directory / key).unlink()

    def read(self) -> dict[Digest, set[str]]:
        """The actions, each with the names of damaged objects. OSError if the directory cannot be listed."""
        try:
            keys = sorted(filter(is_digest, os.listdir(self._directory)))
        except (FileNotFoundError, NotADirectoryError):  # there are none
            return {}
        return {key: self._bad(key) for key in keys}

    def _bad(self, key: Digest) -> set[str]:
        """A note that is no file, or no text, says that there is something to send, and no more."""
        try:
            descriptor = os.open(self._directory / key, _NOTE | os.O_RDONLY)
            with open(descriptor, encoding="utf-8") as file:
                return set(file.read(_LIMIT).split()) if stat.S_ISREG(os.fstat(descriptor).st_mode) else set()
        except (OSError, ValueError):
            return set()
