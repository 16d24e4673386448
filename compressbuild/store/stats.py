"""What is in a store, in numbers."""

from __future__ import annotations

import os

import msgspec

from compressbuild.store.store import Store

__all__ = ["KindStats", "StoreStats", "measure"]


class KindStats(msgspec.Struct):
    """Results of one kind of artifact: how many, and bytes of their outputs (shared objects count each time)."""

    results: int = 0
    size: int = 0


class StoreStats(msgspec.Struct, frozen=True, kw_only=True):
    """``size``: bytes of objects, each counted once. ``saved``: seconds of work that the records stand for."""

    objects: int
    size: int
    records: int
    evicted: int
    bad_records: int
    saved: float
    kinds: dict[str, KindStats]
    quarantined: int
    quarantine_size: int
    leftovers: int


def measure(store: Store) -> StoreStats:
    """Count, reading the records but no object."""
    sizes = [size for _, size in store.cas.digests()]
    results = [result for result, _ in store.ac.results()]
    kinds: dict[str, KindStats] = {}
    for result in results:
        if not result.evicted:
            kind = kinds.setdefault(result.kind, KindStats())
            kind.results += 1
            kind.size += result.size
    quarantined = store.dir.quarantined()
    return StoreStats(
        objects=len(sizes),
        size=sum(sizes),
        records=len(results),
        evicted=sum(result.evicted for result in results),
        bad_records=sum(1 for _ in store.ac.entries()) - len(results),
        saved=sum(result.seconds for result in results),
        kinds=dict(sorted(kinds.items())),
        quarantined=len(quarantined),
        quarantine_size=sum(os.lstat(path).st_size for path in quarantined),
        leftovers=len(store.dir.leftovers()),
    )
