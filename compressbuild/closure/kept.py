"""Closures of plugin functions, remembered for as long as no file and no directory behind them has changed.

A closure follows from the files that it read, and from the names in the directories that were searched. So each
file must have its digest, and each directory its stat: a new module that would take another's place shows in it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from ..digest import CLOCK_GRANULARITY_NS, Digest, Seen, load_sealed, save_sealed
from ..noop import ABSENT, signature

__all__ = ["Closures", "Plain"]

_MAGIC = b"compressbuild-closures-1"
_STARTED = time.time_ns()
_CODE = ("data.py", "index.py", "kept.py", "modules.py", "syntax.py")

Plain = tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Of a closure without a problem: digest, files, paths, absent, external."""
Stat = tuple[int, int, int, int]


class _Kept(msgspec.Struct):
    maker: list[Any]
    folders: dict[str, Stat] = {}
    files: dict[str, Digest] = {}
    closures: dict[str, Plain] = {}


class Closures:
    """``path``: the file that remembers. ``stamp``: what stands for the installed distributions; empty: nothing is
    remembered."""

    def __init__(self, path: Path | None, stamp: str) -> None:
        self._path = path if stamp else None
        self._stamp = stamp
        self._kept = _Kept(self._maker())

    def load(self, digest: Callable[[str], Digest], seen: dict[str, Seen]) -> dict[str, Plain]:
        """What is remembered and still true. Its files join ``seen``, as they are."""
        known = load_sealed(self._path, _MAGIC, _Kept) if self._path is not None else None
        if known is None or known.maker != self._kept.maker:
            return {}
        if any(signature(folder) != then for folder, then in known.folders.items()):
            return {}
        try:
            found = {file: Seen.of(file, digest) for file in known.files}
        except OSError:
            return {}
        if any(found[file].digest != then for file, then in known.files.items()):
            return {}
        seen.update(found)
        self._kept = known
        return known.closures

    def save(self, closures: dict[str, Plain], folders: Iterable[str], seen: dict[str, Seen]) -> OSError | None:
        """Remember these, found in ``folders``, beside what was true already; what prevented it."""
        new = {reference: plain for reference, plain in closures.items() if reference not in self._kept.closures}
        if self._path is None or not new:
            return None
        files = {path for plain in new.values() for path in plain[2]}
        if any(seen[path].changed(path) for path in files):  # what was parsed may not be what was hashed
            return None
        kept = _Kept(
            self._kept.maker,
            {**self._kept.folders, **{folder: signature(folder) for folder in folders}},
            {**self._kept.files, **{path: seen[path].digest for path in files}},
            {**self._kept.closures, **new},
        )
        if kept.maker != self._maker() or not all(map(_settled, (*kept.folders.values(), *_signed(kept.maker)))):
            return None
        self._kept = kept
        return save_sealed(self._path, _MAGIC, kept)

    def _maker(self) -> list[Any]:
        """What a closure depends on beside its own files: Python, where it looks, who is installed, this code."""
        code = (str(Path(__file__).with_name(name)) for name in _CODE)
        return [sys.version, self._stamp, *([path, *signature(path or ".")] for path in (*sys.path, *code))]


def _signed(maker: list[Any]) -> Iterable[Stat]:
    return (tuple(entry[1:]) for entry in maker[2:])


def _settled(stat: Stat) -> bool:
    """Whether it was so before this process looked, and the next change will show. What is absent is so for both."""
    return stat[0] == ABSENT or max(stat[0], stat[3]) < _STARTED - CLOCK_GRANULARITY_NS
