"""The nodes that an agent has: what each waits for, and where its files lie."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from blake3 import blake3

from ..api.work import WorkInput, WorkRequest
from ..globbing import walk
from ..machines.wire import Entry, Files, Order
from ..store import BadOutput, Lock
from ..store.tree import scan
from .blobs import Blobs

__all__ = ["Job", "Trees", "made", "placed"]

Stats = dict[str, tuple[int, int, int, int]]


@dataclass(slots=True)
class Job:
    """``lacks``: digests that have to arrive first. ``lock``: a share in the machine, or the whole of it. ``sent``: how
    many bytes of its log were sent. ``trees``: the directories that it reads."""

    order: Order
    base: Path
    lacks: set[str] = field(default_factory=set)
    lock: Lock | None = None
    sent: int = 0
    trees: tuple[Path, ...] = ()
    spoiled: bool = False

    @property
    def log(self) -> Path:
        return self.base / "log"

    @property
    def files(self) -> list[Entry]:
        return [entry for files in (self.order.files, *self.order.inputs.values()) for entry in files.entries]

    def drop(self) -> None:
        if self.lock is not None:
            self.lock.release()
            self.lock = None
        shutil.rmtree(self.base, ignore_errors=True)


class Trees:
    """Directories that nodes read, each made once a session and shared by the nodes that read the same."""

    def __init__(self, directory: Path, blobs: Blobs) -> None:
        self._directory, self._blobs = directory, blobs
        self._stats: dict[Path, Stats] = {}
        self._made = 0

    def get(self, files: Files) -> Path:
        """Damaged if a file has to be sent again."""
        name = blake3(msgspec.json.encode(files)).hexdigest()[:32]
        place = next((p for p in self._stats if p.name.partition("-")[0] == name), None)
        if place is None:
            self._made += 1
            place = self._directory / f"{name}-{self._made}"
            self._blobs.lay_out(files, place)
            self._stats[place] = _stats(place)
        return place

    def tampered(self, place: Path) -> str | None:
        """A file that changed since; the directory is then given up."""
        before, after = self._stats.get(place), _stats(place)
        if before is None or before == after:
            return None
        del self._stats[place]
        return next(name for name in sorted({*before, *after}) if before.get(name) != after.get(name))


def _stats(path: Path) -> Stats:
    found = {}
    for base, _, names in walk(path):
        for name in names:
            info = os.lstat(os.path.join(base, name))
            full = os.path.relpath(os.path.join(base, name), path)
            found[full] = (info.st_mtime_ns, info.st_size, info.st_ino, info.st_ctime_ns)
    return found


def placed(order: Order, places: Mapping[str, Path], inputs: Mapping[str, Path], base: Path) -> WorkRequest:
    """The request with paths of this machine. ``places``: what stands for each word that begins with ``@``."""

    def here(path: str) -> str:
        word, _, rest = path.partition("/")
        return str(places[word] / rest) if word in places else path

    def all_here(paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(here, paths))

    request = order.request
    sight = request.sight
    if sight is not None:
        sight = msgspec.structs.replace(
            sight, files=all_here(sight.files), trees=all_here(sight.trees), folders=all_here(sight.folders)
        )
    return msgspec.structs.replace(
        request,
        inputs={role: _at(entry, inputs[role]) for role, entry in request.inputs.items()},
        out=str(base / "out"),
        scratch=str(base / "scratch"),
        root=here(request.root),
        code_roots=all_here(request.code_roots),
        checkpoint=here(request.checkpoint) if request.checkpoint is not None else None,
        sight=sight,
    )


def _at(entry: WorkInput, path: Path) -> WorkInput:
    return msgspec.structs.replace(entry, path=str(path))


def made(out: Path) -> tuple[tuple[Entry, ...], tuple[str, ...]] | BadOutput:
    """The files that a node left, without digests, which the engine computes of what arrives; and empty directories."""
    try:
        files, empty = scan(str(out))
    except BadOutput as error:
        return error
    except OSError as error:
        return BadOutput(f"its output cannot be read: {error.strerror}")
    entries = tuple(Entry(f.path, "", f.stat.st_size, bool(f.stat.st_mode & 0o100)) for f in files)
    return entries, tuple(empty)
