"""What lies below ``env`` in a cache: which environments are whole, and which nobody asks for any more."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from ..digest import is_digest
from ..store import SharedExclusive
from .made import changed, is_made, read_record
from .making import MAKING

__all__ = ["Kept", "faults", "kept", "present", "remove"]


class Kept(msgspec.Struct, frozen=True):
    """A directory below ``env``. ``name``: of the environment, empty for one that is not whole."""

    path: Path
    name: str
    size: int


def kept(root: Path, wanted: Collection[str]) -> Iterator[Kept]:
    """The directories whose digest is not among ``wanted``, and what was left by processes that were killed."""
    for path, digest in _directories(root):
        if (path.name not in wanted or not is_made(path)) and not _is_being_made(root, digest):
            yield _found(path)


def present(root: Path) -> Iterator[Kept]:
    """All that takes room, whole or not, in the order of the digests."""
    return (_found(path) for path, _ in _directories(root))


def _directories(root: Path) -> Iterator[tuple[Path, str]]:
    """Each directory of an environment, with its digest."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return
    for name in names:
        if is_digest(digest := name.removeprefix(MAKING)):
            yield root / name, digest


def _found(path: Path) -> Kept:
    record = None if path.name.startswith(MAKING) else read_record(path)
    return Kept(path, record.name if record is not None else "", _size(path))


def _is_being_made(root: Path, digest: str) -> bool:
    lock = SharedExclusive(str(root.parent / "locks" / f"env-{digest}")).try_exclusive()
    if lock is None:
        return True
    lock.release()
    return False


def _size(directory: Path) -> int:
    paths = (os.path.join(base, name) for base, folders, names in os.walk(directory) for name in (*names, *folders))
    return sum(_bytes(path) for path in paths)


def _bytes(path: str) -> int:
    try:
        found = os.lstat(path)
        return 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    except FileNotFoundError:  # of an environment that is being made, or removed
        return 0


def remove(found: Kept) -> OSError | None:
    """Its interpreter first: what is left by an interruption counts for nothing. What prevented it."""
    shutil.rmtree(found.path / "bin", ignore_errors=True)
    try:
        shutil.rmtree(found.path)
    except OSError as error:
        return error
    return None


def faults(directory: Path, *, digests: bool) -> list[str] | None:
    """What has changed in an environment since it was made; None: it is not made. See :func:`.made.changed`."""
    if not is_made(directory):
        return None
    record = read_record(directory)
    return ["its record is damaged"] if record is None else changed(directory, record, digests=digests)
