"""Cleaning the remote cache: by age, by size, and what no record needs."""

from __future__ import annotations

import time

import msgspec

from ..digest import Digest
from ..errors import StoreError
from ..store import Tree
from .objects import Listed, Objects, TooLarge, Unreachable
from .reader import BUNDLE_LIMIT
from .record import RECORD_LIMIT, Bundle, Refused, blob_name, mentioned, tree_name
from .workers import Workers

__all__ = ["SweepReport", "sweep"]

_GRACE = 24 * 3600
"""Seconds for which an object without a record stays: somebody may be about to send the record."""


class SweepReport(msgspec.Struct, frozen=True, kw_only=True):
    """``dropped``: records that were too old or too many; ``unreadable``: those that are none. ``objects``: that no
    record needs. Sizes are bytes."""

    dropped: int
    unreadable: int
    objects: int
    size_before: int
    size_after: int


def sweep(
    objects: Objects, *, max_size: int | None = None, max_age: float | None = None, dry_run: bool = False
) -> SweepReport:
    """Remove records that were written more than ``max_age`` seconds ago, then the oldest ones until ``max_size`` bytes
    remain, and the objects that only they need. Records that anybody signed count alike. StoreError if the store does
    not answer; records go first, so none is left without its output."""
    try:
        return _sweep(objects, max_size, max_age, dry_run=dry_run)
    except Unreachable as error:
        raise StoreError(f"the remote cache cannot be cleaned: {error}") from error


def _sweep(objects: Objects, max_size: int | None, max_age: float | None, *, dry_run: bool) -> SweepReport:
    now = time.time()
    found = {each.name: each for each in objects.list("v1")}
    records = sorted(
        (each for name, each in found.items() if name.startswith("v1/ac/")), key=lambda each: each.modified
    )
    workers = Workers(16)
    asked = {each.name: workers.run(lambda each=each: _needs(objects, each)) for each in records}  # type: ignore[misc]
    needs = {name: future.result() for name, future in asked.items()}
    unreadable = {name for name, needed in needs.items() if needed is None}
    kept = [each for each in records if each.name not in unreadable]
    if max_age is not None:
        kept = [each for each in kept if now - each.modified <= max_age]
    users: dict[str, int] = {}
    for each in kept:
        for name in needs[each.name] or ():
            users[name] = users.get(name, 0) + 1
    total = sum(each.size for each in kept) + sum(found[name].size for name in users if name in found)
    while max_size is not None and total > max_size and kept:
        gone = kept.pop(0)
        total -= gone.size
        for name in needs[gone.name] or ():
            users[name] -= 1
            if not users[name]:
                del users[name]
                total -= found[name].size if name in found else 0
    live = {each.name for each in kept}
    dropped = [each.name for each in records if each.name not in live and each.name not in unreadable]
    needed = {name for record in dropped for name in needs[record] or ()}  # they have had a record: no need to wait
    loose = [
        name
        for name, each in found.items()
        if not name.startswith("v1/ac/") and name not in users and (name in needed or now - each.modified > _GRACE)
    ]
    removed = {*dropped, *unreadable, *loose}
    if not dry_run:
        objects.remove([*dropped, *sorted(unreadable)])
        objects.remove(loose)
    before = sum(each.size for each in found.values())
    return SweepReport(
        dropped=len(dropped),
        unreadable=len(unreadable),
        objects=len(loose),
        size_before=before,
        size_after=before - sum(found[name].size for name in removed),
    )


def _needs(objects: Objects, record: Listed) -> frozenset[str] | None:
    """The objects that a record needs; None if it is no record."""
    try:
        got = objects.get(record.name, RECORD_LIMIT)
        said = mentioned(got.data) if got is not None else None
        if said is None:
            return None
        output, bundle = said
        if bundle is not None:
            return _blobs(bundle)
        return frozenset({tree_name(output)}) | _blobs(_bundle(objects, output))
    except TooLarge:
        return None


def _bundle(objects: Objects, output: Digest) -> Bundle | None:
    try:
        got = objects.get(tree_name(output), BUNDLE_LIMIT)
        return Bundle.decode(got.data, output) if got is not None else None
    except (Refused, TooLarge):
        return None


def _blobs(bundle: Bundle | None) -> frozenset[str]:
    try:
        files = Tree.decode(bundle.tree).files if bundle is not None else ()
    except ValueError:
        return frozenset()
    return frozenset(blob_name(file.digest) for file in files if bundle and file.digest not in bundle.files)
