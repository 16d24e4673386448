"""What lies below ``env`` in a cache: which environments are whole, and which nobody asks for any more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from ..digest import is_digest
from ..store import SharedExclusive
from .made import changed, is_made, read_record
from .making import MAKING

__all__ = ["Kept", "faults", "kept", "remove"]


class Kept(msgspec.Struct, frozen=True):
    """A directory below ``env``. ``name``: of the environment, empty for one that is not whole."""

    path: Path
    name: str
    size: int


def kept(root: Path, wanted: Collection[str]) -> Iterator[Kept]:
    """The directories whose digest is not among ``wanted``, and what was left by processes that were killed."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return
    for name in names:
        digest = name.removeprefix(MAKING)
        if is_digest(digest) and (name not in wanted or not is_made(root / name)) and not _is_being_made(root, digest):
            record = read_record(root / name) if name == digest else None
            yield Kept(root / name, record.name if record is not None else "", _size(root / name))


def _is_being_made(root: Path, digest: str) -> bool:
    lock = SharedExclusive(str(root.parent / "locks" / f"env-{digest}")).try_exclusive()
    if lock is None:
        return True
    lock.release()
    return False


def _size(directory: Path) -> int:
    paths = (os.path.join(base, name) for base, _, names in os.walk(directory) for name in names)
    return sum(os.lstat(path).st_size for path in paths)


def remove(found: Kept) -> None:
    """Its record first: what is left by an interruption counts for nothing."""
    shutil.rmtree(found.path / "bin", ignore_errors=True)
    shutil.rmtree(found.path, ignore_errors=True)


def faults(directory: Path, *, digests: bool) -> list[str] | None:
    """What has changed in an environment since it was made; None: it is not made. See :func:`.made.changed`."""
    if not is_made(directory):
        return None
    record = read_record(directory)
    return ["its record is damaged"] if record is None else changed(directory, record, digests=digests)
