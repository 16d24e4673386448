"""Results that lie beyond this directory, in a cache that machines share: what the store asks of it, and takes from it.

A record that comes from there is kept here as evicted: its digest is known, its bytes are not here. They come when a
node that runs, or a publication, needs them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Protocol

import msgspec

from compressbuild.digest import Digest, bytes_digest
from compressbuild.errors import StoreError
from compressbuild.store.ac import ActionCache, ActionResult, evict
from compressbuild.store.cachedir import CacheDir
from compressbuild.store.cas import CAS
from compressbuild.store.fs import explained
from compressbuild.store.tree import Tree

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Shared", "Upstream"]


class Upstream(Protocol):
    """A cache beyond this directory. None of its methods raises for want of an answer: it knows nothing then."""

    def find(self, keys: Collection[Digest]) -> list[ActionResult]:
        """What is known and trusted of these actions. Each key is asked for once."""

    def fetch(self, result: ActionResult) -> Future[bool]:
        """Bring an output here, through ``Shared.receive``. The answer is whether it is here now."""

    def offer(self, results: Iterable[ActionResult]) -> None:
        """These are durable here: take what machines may share. Returns at once."""


@dataclass(slots=True)
class _Arrival:
    """An output that waits to be stored."""

    result: ActionResult
    tree: bytes
    files: Mapping[Digest, bytes | Path]
    ended: bool = False
    error: StoreError | None = None


class Shared:
    """The store's door to ``upstream``; without one it finds nothing."""

    def __init__(self, cachedir: CacheDir, ac: ActionCache, cas: CAS, mutex: RLock) -> None:
        self._dir, self._ac, self._cas, self._mutex = cachedir, ac, cas, mutex
        self.upstream: Upstream | None = None
        self._arrivals: deque[_Arrival] = deque()

    def look(self, keys: Iterable[Digest]) -> None:
        """Take over the records of those actions that are not known here, all at once."""
        if self.upstream is None:
            return
        unknown = [key for key in dict.fromkeys(keys) if not os.path.lexists(self._dir.record(key))]
        found = self.upstream.find(unknown) if unknown else []
        if found:
            with self._mutex:
                self._ac.put(*map(evict, found))

    def get(self, key: Digest) -> ActionResult | None:
        """The record of one action, which is not known here."""
        if self.upstream is None:
            return None
        self.look([key])
        return self._ac.get(key)

    def fetch(self, result: ActionResult) -> Future[bool] | None:
        """Begin to bring an output here; None if there is nowhere to ask."""
        return self.upstream.fetch(result) if self.upstream is not None else None

    def offer(self, results: Iterable[ActionResult]) -> None:
        if self.upstream is not None:
            self.upstream.offer(results)

    def receive(self, result: ActionResult, tree: bytes, files: Mapping[Digest, bytes | Path]) -> None:
        """Store an output that came from elsewhere, from any thread: its tree, and those of its files that are missing
        here, as bytes or as a file that is moved. Every byte is hashed first. StoreError if something is not what its
        digest says or is missing; then what was right is kept, and the output still counts as evicted.
        """
        if bytes_digest(tree) != result.output:
            raise StoreError(f"the tree of {result.output} has other bytes")
        _decoded(tree)
        for digest, source in files.items():
            if isinstance(source, bytes) and bytes_digest(source) != digest:
                raise StoreError(f"object {digest} has other bytes")
        arrival = _Arrival(result, tree, files)
        self._arrivals.append(arrival)
        with self._mutex:  # whoever has it stores what has come meanwhile, too: all are synced together
            if not arrival.ended:
                self._store_arrivals()
        if arrival.error is not None:
            raise arrival.error

    def _store_arrivals(self) -> None:
        arrivals: list[_Arrival] = []
        while self._arrivals:
            arrivals.append(self._arrivals.popleft())
        queue = self._dir.queue
        before, queue.deferring = queue.deferring, True
        try:
            for each in arrivals:
                try:
                    self._place(each)
                except StoreError as error:
                    each.error = error
            sound = [each for each in arrivals if each.error is None]
            self._ac.put(*(msgspec.structs.replace(each.result, evicted=False) for each in sound))
        except StoreError as error:
            for each in arrivals:
                each.error = each.error or error
        finally:
            queue.deferring = before
            for each in arrivals:
                each.ended = True

    def _place(self, arrival: _Arrival) -> None:
        """Put the objects of an output in their places."""
        for digest, source in arrival.files.items():
            if isinstance(source, bytes):
                self._cas.put_bytes(source)
            elif not self._cas.take(source, digest):
                raise StoreError(f"object {digest} has other bytes")
        wanted = {file.digest for file in _decoded(arrival.tree).files}
        if missing := next(filter(self._cas.check, sorted(wanted)), None):
            raise StoreError(f"object {missing} is missing")
        self._cas.put_bytes(arrival.tree)

    def scratch(self) -> Path:
        """A new directory for what is on its way; the store's ``abandon`` removes it."""
        path = self._dir.temporary()
        with explained("make a scratch directory"):
            self._dir.fs.make_dir(path)
        return Path(path)


def _decoded(tree: bytes) -> Tree:
    try:
        return Tree.decode(tree)
    except ValueError as error:
        raise StoreError(str(error)) from error
