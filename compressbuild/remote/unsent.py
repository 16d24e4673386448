"""The actions whose results this checkout has still to send: an empty file for each, so that a killed build, or one
without a network, leaves word for the next."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..digest import Digest, is_digest

__all__ = ["Unsent"]


class Unsent:
    """The notes in a directory. Where none can be written, `cbuild cache push` still sends the results."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made = False

    def add(self, key: Digest) -> None:
        with suppress(OSError):
            if not self._made:
                self._directory.mkdir(parents=True, exist_ok=True)
                self._made = True
            (self._directory / key).touch()

    def remove(self, key: Digest) -> None:
        with suppress(OSError):
            (self._directory / key).unlink()

    def read(self) -> list[Digest]:
        try:
            return sorted(filter(is_digest, os.listdir(self._directory)))
        except OSError:  # there are none
            return []
