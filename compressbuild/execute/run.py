"""A node at work."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..plan import Action
from ..store import Lock, Store
from .inputs import Taken

__all__ = ["Run", "Workplaces", "first_unmet"]

_WILD = frozenset("*?[")


class Workplaces:
    """Directories of nodes at work, each for one at a time: ``out`` is new for each, ``scratch`` is empty.

    What a node left as it was given serves the next one: to remove a directory can take longer than all else that is
    done for a small node, for it waits for the file system's journal."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._modes: dict[Path, tuple[int, int]] = {}
        self._vacant: list[Path] = []

    def take(self) -> tuple[Path, Path, Path]:
        """One that belongs to nobody else: its base, and in that the output and the scratch directory."""
        for _ in range(len(self._vacant)):
            base = self._vacant.pop()
            out, scratch = base / "out", base / "scratch"
            with contextlib.suppress(OSError):  # somebody has removed it since, or closed it
                os.mkdir(out)
                if os.lstat(scratch).st_mode == self._modes[base][1]:
                    return base, out, scratch
            self.remove(base)
        base = self._store.scratch()
        out, scratch = base / "out", base / "scratch"
        os.mkdir(out)
        os.mkdir(scratch)
        self._modes[base] = (os.lstat(base).st_mode, os.lstat(scratch).st_mode)
        return base, out, scratch

    def leave(self, base: Path) -> None:
        """Its node has a result, and all its processes have ended."""
        if self._as_given(base):
            self._vacant.append(base)
        else:
            self.remove(base)

    def close(self) -> None:
        """Remove those that nobody has."""
        while self._vacant:
            self.remove(self._vacant.pop())

    def _as_given(self, base: Path) -> bool:
        """Whether the output was moved away, nothing is in the scratch directory, and who may do what is as it was."""
        given = str(base)
        scratch = f"{given}/scratch"
        try:
            return (
                os.listdir(given) == ["scratch"]
                and (os.lstat(given).st_mode, os.lstat(scratch).st_mode) == self._modes[base]
                and not os.listdir(scratch)
                and not (_attributes(given) or _attributes(scratch))
            )
        except OSError:
            return False

    def remove(self, base: Path) -> None:
        """Its node has failed, or did not come to an end: nobody can say what of it is still at work."""
        self._modes.pop(base, None)
        self._store.abandon(base)


def _attributes(path: str) -> list[str]:
    """Extended attributes that a process can have given a directory, access lists among them."""
    if not hasattr(os, "listxattr"):
        return []
    try:
        return [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith("security.")]
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return []


def first_unmet(patterns: Iterable[str], out: Path) -> str | None:
    """The first of these globs that nothing in a directory matches; for a plain name nothing is listed."""
    for pattern in patterns:
        if pattern == "*" and os.listdir(out):
            continue
        if not (any(out.glob(pattern)) if _WILD.intersection(pattern) else os.path.exists(f"{out}/{pattern}")):
            return pattern
    return None


@dataclass(frozen=True, slots=True)
class Run:
    """A node at work, and what it holds until it ends."""

    action: Action
    locks: tuple[Lock, ...]
    base: Path
    log: Path
    inputs: tuple[Taken, ...]
