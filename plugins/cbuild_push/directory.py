"""A directory. What is pushed is written beside its place, read back, then renamed into it."""

from __future__ import annotations

import glob
import os
import shutil
import socket
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from compressbuild.api import Content, Params, Parcel, UserError

_MARK = ".cbuild-push."
_SEAL = "provenance.json"


def open_place(address: str, options: Params) -> Directory:
    if address.lower().startswith("file://"):
        parts = urlsplit(address)
        if parts.netloc not in ("", "localhost"):
            raise UserError(f"'{parts.netloc}' is another host", hint="write file:///path, with three slashes")
        address = unquote(parts.path)
    return Directory(Path(os.path.abspath(address)))


class Files:
    """The regular files below a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> Collection[str]:
        return {
            Path(base, name).relative_to(self._root).as_posix()
            for base, _, names in _walk(self._root)
            for name in names
        }

    def open(self, name: str) -> BinaryIO:
        return os.fdopen(os.open(self._root / name, os.O_RDONLY | os.O_NOFOLLOW), "rb")


class Directory:
    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._path = path

    def current(self) -> Content | None:
        above = next((each for each in self._path.parents if (each / _SEAL).is_file()), None)
        if above is not None:
            raise UserError(f"{above} is itself a published artifact", hint="push beside it, not into it")
        if not os.path.lexists(self._path):
            return None
        if self._path.is_symlink() or not self._path.is_dir():
            raise UserError("something that is not a directory is there", hint="remove it, or push to another place")
        if (self._path / _SEAL).is_file():
            return Files(self._path)
        if any(self._path.iterdir()):
            raise UserError("files are there that no push put there", hint="remove them, or push to another place")
        return None

    def described(self, parcel: Parcel) -> bool:
        return True

    def publish(self, parcel: Parcel, keep: frozenset[str], check: Callable[[Content], None]) -> str:
        above = self._path.parent
        above.mkdir(parents=True, exist_ok=True)
        self.tidy()
        staged = above / f".{self._path.name}{_MARK}{_host()}.{os.getpid()}"
        try:
            _write(parcel, staged)
            check(Files(staged))
            self._swap(staged)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return self.address

    def _swap(self, staged: Path) -> None:
        """Two renames: a reader meets the old artifact, for a moment none, then the new one."""
        aside = staged.with_name(f"{staged.name}.old")
        old = os.path.lexists(self._path)
        if old:
            os.rename(self._path, aside)
        try:
            os.rename(staged, self._path)
        except OSError:
            if old:
                os.rename(aside, self._path)
            raise
        _sync(staged.parent)
        shutil.rmtree(aside, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what a killed push of this machine left, but for the old artifact if no other is there: it was killed
        between two renames, and the next push may fail. Another machine's process ids say nothing here."""
        for left in self._path.parent.glob(f".{glob.escape(self._path.name)}{_MARK}*"):
            host, _, owner = left.name.removesuffix(".old").partition(_MARK)[2].rpartition(".")
            if host != _host() or not owner.isdigit() or _alive(int(owner)):
                continue
            if left.name.endswith(".old") and not os.path.lexists(self._path):
                os.rename(left, self._path)
            else:
                shutil.rmtree(left, ignore_errors=True)


def _host() -> str:
    return socket.gethostname().replace("/", "-")


def _write(parcel: Parcel, staged: Path) -> None:
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    source = parcel.files[0].path.parents[parcel.files[0].name.count("/")]
    for base, folders, names in _walk(source):  # with empty directories
        there = staged / Path(base).relative_to(source)
        for folder in folders:
            (there / folder).mkdir()
        del names
    for file in parcel.files:
        target = staged / file.name
        with file.path.open("rb") as reading, target.open("wb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
            writing.flush()
            os.fsync(writing.fileno())
        target.chmod(0o755 if file.path.stat().st_mode & 0o100 else 0o644)
    for base, _, _ in _walk(staged):
        _sync(Path(base))


def _walk(directory: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """``os.walk`` that does not pass over a directory which cannot be listed."""

    def failed(error: OSError) -> None:
        raise error

    return os.walk(directory, onerror=failed)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
