"""An environment as it lies in the cache: what was recorded when it was made, and what has changed since."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..digest import Digest, file_digest, load_sealed
from ..globbing import walk

__all__ = ["MAGIC", "RECORD", "Made", "changed", "files_of", "is_made", "read_record"]

RECORD = "compressbuild.record"
"""The file in an environment that says that it is whole; written last."""
MAGIC = b"compressbuild-environment-1"

Entry = tuple[Digest, int, int]
"""Of a file: its digest, its size, and when it was modified in ns. A link has its target for a digest."""


class Made(msgspec.Struct, frozen=True):
    """``lock``: digest of the lock; ``python``: ``3.12``; ``uv``: the version that made it; ``files``: by path."""

    name: str
    lock: Digest
    python: str
    platform: str
    uv: str
    distributions: int
    files: dict[str, Entry]

    @property
    def size(self) -> int:
        return sum(size for _, size, _ in self.files.values())


def is_made(directory: Path) -> bool:
    """Whether it was completed and its interpreter is still there. Reads no content."""
    return (directory / RECORD).is_file() and (directory / "bin" / "python").exists()


def read_record(directory: Path) -> Made | None:
    """What was recorded; None if there is no record, or a damaged one."""
    return load_sealed(directory / RECORD, MAGIC, Made)


def files_of(directory: Path, *, digests: bool = True) -> Iterator[tuple[str, Entry]]:
    """Every file, by its path from the environment. Without ``digests`` only links are read."""
    for base, folders, names in walk(directory):
        for name in (*names, *folders):
            path = os.path.join(base, name)
            found = os.lstat(path)
            if stat.S_ISDIR(found.st_mode):
                continue
            shown = os.path.relpath(path, directory)
            if shown == RECORD:
                continue
            if stat.S_ISLNK(found.st_mode):
                yield shown, (f"-> {os.readlink(path)}", 0, 0)
            else:
                yield shown, (file_digest(path) if digests else "", found.st_size, found.st_mtime_ns)


def changed(directory: Path, record: Made, *, digests: bool) -> list[str]:
    """``changed PATH``, ``added PATH`` and ``removed PATH``. ``digests``: read every file; else only compare sizes and
    times, which does not see a change by somebody who sets the time back."""
    found = dict(files_of(directory, digests=digests))
    lines = [f"removed {path}" for path in record.files.keys() - found.keys()]
    for path, entry in found.items():
        then = record.files.get(path)
        if then is None:
            lines.append(f"added {path}")
        elif (entry[0] != then[0]) if digests else ((entry[0] or then[0], *entry[1:]) != then):
            lines.append(f"changed {path}")
    return sorted(lines)
