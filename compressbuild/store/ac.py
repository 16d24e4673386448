"""The action cache: action key → what the action produced."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from compressbuild.digest import Digest, is_digest, read_regular, seal, unseal
from compressbuild.store.cachedir import CacheDir
from compressbuild.store.fs import UNREADABLE, explained, reread

__all__ = ["ActionCache", "ActionResult"]


_HOUR = 3600
ENGINE = "engine"
"""What an ActionResult has for ``sandbox`` if no worker ran."""


class ActionResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a successful action produced; failures are never cached.

    ``output``: digest of its tree; ``size``: bytes in the tree's files. ``seconds``, ``peak_rss`` (bytes): what it
    cost. ``facts``: JSON values it reported. ``created``: Unix time. ``sandbox``: what kept it from files that its key
    does not cover; empty where no record says. ``evicted``: the bytes may be gone, but the digest still stands, so
    actions that consume this output stay cached.
    """

    key: Digest
    output: Digest
    kind: str
    label: str
    size: int
    seconds: float
    peak_rss: int
    facts: dict[str, Any]
    created: float
    evicted: bool = False
    sandbox: str = ""

    @property
    def imported(self) -> bool:
        """It is a copy of a file of the project, which the engine made itself."""
        return self.sandbox == ENGINE


def evict(result: ActionResult) -> ActionResult:
    return msgspec.structs.replace(result, evicted=True)


class ActionCache:
    """Records at ``ac/ab/<key>``: a line with the format and the BLAKE3 digest of the rest, which is JSON.

    A record is written after all the objects that it needs are on the disk. A damaged one is moved to the quarantine
    and counts as absent. OSErrors become StoreErrors.
    """

    _MAGIC = b"compressbuild-action-1"

    def __init__(self, cachedir: CacheDir) -> None:
        self._dir = cachedir
        self._touched: set[Digest] = set()

    def get(self, key: Digest) -> ActionResult | None:
        path = self._dir.record(key)
        with explained("read an action record"):
            try:
                result = self._read(path, key)
            except FileNotFoundError:
                return None
            if result is None:
                self._dir.quarantine(path)
            return result

    def put(self, *results: ActionResult) -> None:
        """Write records. Whatever was stored before them, and then they, are on the disk when this returns."""
        with explained("write an action record"):
            self._replace(results, keep_used=False)

    def mark_evicted(self, results: Iterable[ActionResult]) -> None:
        """Rewrite records as evicted; the times of their last use stay."""
        with explained("write an action record"):
            self._replace([evict(result) for result in results], keep_used=True)

    def _replace(self, results: Sequence[ActionResult], *, keep_used: bool) -> None:
        blobs = [self.encode(result) for result in results]
        placed = [(self._dir.temporary(), self._dir.record(result.key)) for result in results]
        fs, queue = self._dir.fs, self._dir.queue
        try:
            for (temporary, path), blob in zip(placed, blobs, strict=True):
                fs.write(temporary, blob)
                if keep_used:
                    fs.set_used(temporary, os.lstat(path).st_mtime_ns)
                queue.add_content(temporary)
            queue.drain()
            for temporary, path in placed:
                queue.rename(temporary, path)
            queue.drain()
        except OSError:
            for temporary, _ in placed:
                self._dir.discard(temporary)
            raise

    def touch(self, key: Digest) -> None:
        """The record has been used: note the time, to the hour (each note costs a write), for the least recently used
        go first."""
        if key in self._touched:
            return
        self._touched.add(key)
        path = self._dir.record(key)
        with explained("touch an action record"):
            try:
                if abs(time.time() - os.stat(path).st_mtime) > _HOUR:
                    self._dir.fs.set_used(path)
            except FileNotFoundError:
                return

    def remove(self, key: Digest) -> None:
        with explained("remove an action record"):
            self._dir.discard(self._dir.record(key))

    def entries(self) -> Iterator[tuple[str, os.stat_result]]:
        """Path and stat of every file among the records, whether or not it is sound, sorted by path."""
        for path in self._dir.records():
            try:
                yield path, os.lstat(path)
            except FileNotFoundError:
                continue

    def results(self) -> Iterator[tuple[ActionResult, os.stat_result]]:
        """Every sound record, with its stat, whose mtime is its last use."""
        for path, st in self.entries():
            if (result := self.peek(path)) is not None:
                yield result, st

    def peek(self, path: str) -> ActionResult | None:
        """The record in a file, None if it is bad, gone or misplaced; a bad one is left alone."""
        name = os.path.basename(path)
        if not is_digest(name) or path != self._dir.record(name):
            return None
        with explained("read an action record"):
            try:
                return self._read(path, name)
            except FileNotFoundError:
                return None

    @classmethod
    def _read(cls, path: str, key: str) -> ActionResult | None:
        """None if it is no sound record, be it a directory, a link or a pipe."""
        try:
            return cls.decode(reread(lambda: read_regular(path)), key)
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            return None

    @classmethod
    def encode(cls, result: ActionResult) -> bytes:
        return seal(cls._MAGIC, msgspec.json.encode(result))

    @classmethod
    def decode(cls, data: bytes, key: str) -> ActionResult | None:
        """The record of ``key``, or None if these bytes are none."""
        body = unseal(cls._MAGIC, data)
        try:
            result = None if body is None else msgspec.json.decode(body, type=ActionResult)
        except (ValueError, RecursionError):  # no UTF-8, no JSON, or not of this shape
            return None
        return result if result is not None and result.key == key else None
