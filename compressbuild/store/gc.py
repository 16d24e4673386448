"""Garbage collection: by reachability, age and size."""

from __future__ import annotations

import time
from collections.abc import Collection

import msgspec

from compressbuild.digest import Digest
from compressbuild.errors import StoreError
from compressbuild.store.ac import ActionCache, ActionResult, evict
from compressbuild.store.fs import explained
from compressbuild.store.store import Store

__all__ = ["GcReport", "collect"]


class GcReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed (or, in a dry run, would be). Sizes are bytes of objects and records.

    ``dropped``: records older than the limit. ``evicted``: records whose output went for want of space. ``leftovers``:
    unfinished, quarantined, stray and unreadable files. ``damaged``:
    records whose output was found missing or corrupt: the next build, or `cbuild cache verify`, repairs them.
    """

    dropped: int = 0
    evicted: int = 0
    objects: int = 0
    leftovers: int = 0
    damaged: int = 0
    size_before: int = 0
    size_after: int = 0

    @property
    def freed(self) -> int:
        return self.size_before - self.size_after


class _Output(msgspec.Struct):
    """An output with bytes in the store: its objects, the records that lead to it, and its last use."""

    objects: tuple[Digest, ...]
    results: list[ActionResult]
    used: float
    kept: bool


def collect(
    store: Store,
    *,
    max_size: int | None = None,
    max_age: float | None = None,
    keep: Collection[Digest] = (),
    dry_run: bool = False,
) -> GcReport:
    """Remove what is unfinished, quarantined or reached from no record; then records not used for ``max_age`` seconds;
    then the least recently used outputs until at most ``max_size`` bytes remain.

    The records of outputs that go for their size stay, marked as evicted, so that what was made from them stays cached.
    The keys in ``keep`` (those of the last build) know no age, and their outputs go last. An object goes when no output
    in the store needs it. StoreError while a build uses the cache.
    """
    lock = store.users.try_shared() if dry_run else store.users.try_exclusive()
    if lock is None:
        raise StoreError("a build is using this cache", hint="run `cbuild cache gc` again when it has finished")
    with lock:
        return _Collection(store, frozenset(keep), dry_run).run(max_size, max_age)


class _Collection:
    def __init__(self, store: Store, keep: frozenset[Digest], dry_run: bool) -> None:
        self._store = store
        self._keep = keep
        self._dry = dry_run
        self._sizes = dict(store.cas.digests())
        self._outputs: dict[Digest, _Output] = {}
        self._damaged = 0

    def run(self, max_size: int | None, max_age: float | None) -> GcReport:
        oldest = time.time() - max_age if max_age is not None else float("-inf")
        records = 0
        dropped: list[ActionResult] = []
        gone: list[tuple[ActionResult, float]] = []
        for result, st in self._store.ac.results():
            if st.st_mtime < oldest and result.key not in self._keep:
                dropped.append(result)
                continue
            records += st.st_size
            if result.evicted:
                gone.append((result, st.st_mtime))
            else:
                self._add(result, st.st_mtime)
        self._share(gone)
        before = sum(self._sizes.values()) + sum(st.st_size for _, st in self._store.ac.entries())
        evicted = self._least_used(None if max_size is None else max_size - records)
        records += sum(len(ActionCache.encode(evict(old))) - len(ActionCache.encode(old)) for old in evicted)
        live = self._live()
        dead = sorted(digest for digest in self._sizes if digest not in live)
        leftovers = self._rubbish()
        if not self._dry:
            self._remove(dropped, evicted, dead, leftovers)
        return GcReport(
            dropped=len(dropped),
            evicted=len(evicted),
            objects=len(dead),
            leftovers=len(leftovers),
            damaged=self._damaged,
            size_before=before,
            size_after=records + sum(self._sizes[digest] for digest in live),
        )

    def _add(self, result: ActionResult, used: float) -> None:
        output = self._outputs.get(result.output)
        if output is None:
            tree = self._store.cas.peek_tree(result.output)
            if tree is None:
                self._damaged += 1
                return
            objects = {result.output, *(file.digest for file in tree.files)}
            if not objects <= self._sizes.keys():
                self._damaged += 1
            output = self._outputs[result.output] = _Output(tuple(objects & self._sizes.keys()), [], used, False)
        output.results.append(result)
        output.used = max(output.used, used)
        output.kept |= result.key in self._keep

    def _share(self, evicted: list[tuple[ActionResult, float]]) -> None:
        """Uses of an evicted record count for the same output under another key, which serves them."""
        for result, used in evicted:
            if output := self._outputs.get(result.output):
                output.used = max(output.used, used)
                output.kept |= result.key in self._keep

    def _rubbish(self) -> list[str]:
        store = self._store
        bad = [path for path, _ in store.ac.entries() if store.ac.peek(path) is None]
        return [*store.dir.leftovers(), *store.dir.quarantined(), *store.cas.strays(), *bad]

    def _least_used(self, room: int | None) -> list[ActionResult]:
        """Take outputs from the list until the rest has ``room``; the records of those taken."""
        if room is None:
            return []
        users: dict[Digest, int] = {}
        for output in self._outputs.values():
            for digest in output.objects:
                users[digest] = users.get(digest, 0) + 1
        total = sum(self._sizes[digest] for digest in users)
        evicted: list[ActionResult] = []
        for name, output in sorted(self._outputs.items(), key=lambda item: (item[1].kept, item[1].used, item[0])):
            if total <= room:
                break
            for digest in output.objects:
                users[digest] -= 1
                total -= 0 if users[digest] else self._sizes[digest]
            evicted += output.results
            del self._outputs[name]
        return evicted

    def _live(self) -> set[Digest]:
        return {digest for output in self._outputs.values() for digest in output.objects}

    def _remove(
        self, dropped: list[ActionResult], evicted: list[ActionResult], dead: list[Digest], leftovers: list[str]
    ) -> None:
        """Records first: whenever this stops, no record promises an object that is gone."""
        store = self._store
        for result in dropped:
            store.ac.remove(result.key)
        store.ac.mark_evicted(evicted)
        with explained("clean the cache"):
            for digest in dead:
                store.cas.remove(digest)
            for path in leftovers:
                store.dir.fs.remove_tree(path)
        store.close()
