"""Files by digest, kept from build to build, so that each crosses the network once."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from blake3 import blake3

from ..digest import is_digest
from ..machines.wire import Files, Put, Wire

__all__ = ["Blobs", "Damaged", "swept"]

_KEPT = 30 * 86400.0
"""Seconds for which something is kept that no build uses."""
_CHUNK = 1 << 20


class Damaged(OSError):
    """A file is not what its digest says, or is gone; it has to be sent again."""


class Blobs:
    """``directory``: its own. What is read from it is hashed again, so damage there never reaches a node."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def lacking(self, digests: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each for each in digests if not self._path(each).is_file()))

    def take(self, put: Put, wire: Wire) -> str:
        """Receive a file; why it cannot be kept, or nothing. All its bytes are read either way."""
        trouble, found = "", blake3()
        temporary = self._directory / f".new-{os.uname().nodename}-{os.getpid()}"  # machines may share it
        with open(os.devnull, "wb") as nowhere:
            try:
                file = open(temporary, "wb")  # noqa: SIM115  closed below, and kept only if it is whole
            except OSError as error:
                wire.copy(put.size, nowhere.write)
                return str(error)
            try:

                def write(data: bytes) -> None:
                    nonlocal trouble
                    found.update(data)
                    try:
                        (nowhere if trouble else file).write(data)
                    except OSError as error:
                        trouble = str(error)

                wire.copy(put.size, write)
            finally:
                try:
                    file.close()
                except OSError as error:
                    trouble = trouble or str(error)
        if not trouble and found.hexdigest() != put.digest:
            trouble = "it did not arrive as it was sent"
        if trouble:
            temporary.unlink(missing_ok=True)
        else:
            path = self._path(put.digest)
            path.parent.mkdir(exist_ok=True)
            temporary.replace(path)
        return trouble

    def lay_out(self, files: Files, place: Path) -> None:
        """Make a directory that holds copies of ``files``. Damaged if one has to be sent again."""
        made = place.with_name(f"{place.name}.new")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for folder in files.folders:
            (made / folder).mkdir(parents=True, exist_ok=True)
        for entry in files.entries:
            full = made / entry.path
            full.parent.mkdir(parents=True, exist_ok=True)
            self._copy(entry.digest, full)
            full.chmod(0o755 if entry.executable else 0o644)
        made.rename(place)

    def _copy(self, digest: str, to: Path) -> None:
        path, found = self._path(digest), blake3()
        try:
            source = open(path, "rb")  # noqa: SIM115
        except FileNotFoundError:
            raise Damaged(digest) from None
        with source, open(to, "wb") as target:
            while chunk := source.read(_CHUNK):
                found.update(chunk)
                target.write(chunk)
        if found.hexdigest() != digest:
            path.unlink(missing_ok=True)
            raise Damaged(digest)
        os.utime(path)  # it was used now

    def _path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise ValueError(f"not a digest: {digest!r}")
        return self._directory / digest[:2] / digest


def swept(folder: Path) -> None:
    """Remove what lies in ``folder`` and was not used for long. It is only a copy: what cannot be removed stays."""
    now = time.time()
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        try:
            if now - path.lstat().st_mtime > _KEPT:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError:
            continue
