"""Check every byte of a store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from compressbuild.digest import Digest
from compressbuild.errors import StoreError
from compressbuild.store.ac import ActionResult
from compressbuild.store.store import Store

__all__ = ["Finding", "FsckReport", "verify"]


class Finding(msgspec.Struct, frozen=True):
    """Something wrong. ``name``: the digest, key or file name. ``detail``: what, in words."""

    kind: Literal["corrupt-object", "stray-file", "bad-record", "damaged-record", "leftover"]
    name: str
    detail: str


class FsckReport(msgspec.Struct, frozen=True):
    """``objects``, ``records``: how many were sound; ``size``: bytes of the sound objects."""

    objects: int
    records: int
    size: int
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Nothing is damaged. Leftovers of an interrupted write are no damage."""
        return all(finding.kind == "leftover" for finding in self.findings)


def verify(store: Store, *, repair: bool = True) -> FsckReport:
    """Hash every object again, decode every record, and look for all that the records refer to.

    ``repair``: move what is bad to the quarantine, mark records whose output is gone as evicted (what was made from it
    stays cached, it is itself made again when needed) and remove leftovers. StoreError while a build uses the cache,
    or, without ``repair``, while gc does.
    """
    lock = store.users.try_exclusive() if repair else store.users.try_shared()
    if lock is None:
        raise StoreError("the cache is in use by another process", hint="run `cbuild cache verify` when it is done")
    with lock:
        return _Check(store, repair).run()


class _Check:
    def __init__(self, store: Store, repair: bool) -> None:
        self._store = store
        self._repair = repair
        self._findings: list[Finding] = []
        self._sizes: dict[Digest, int] = {}

    def run(self) -> FsckReport:
        entries = [(path, self._store.ac.peek(path)) for path, _ in self._store.ac.entries()]
        self._check_objects()  # after the records were listed, for a build may be adding both
        records = self._check_records(entries)
        self._check_leftovers()
        if self._repair:
            self._store.close()
        return FsckReport(len(self._sizes), records, sum(self._sizes.values()), tuple(self._findings))

    def _check_objects(self) -> None:
        for path in self._store.cas.strays():
            self._bad("stray-file", path, "no object has such a place and name")
        for digest, _ in self._store.cas.digests():
            size = self._store.cas.rehash(digest)
            if size is None:
                self._bad("corrupt-object", self._store.dir.object(digest), "its bytes are not those of its digest")
            else:
                self._sizes[digest] = size

    def _check_records(self, entries: list[tuple[str, ActionResult | None]]) -> int:
        sound = 0
        damaged: list[ActionResult] = []
        for path, result in entries:
            if result is None:
                self._bad("bad-record", path, "it cannot be read as the record of its key")
            elif result.evicted or not (detail := self._damage(result.output)):
                sound += 1
            else:
                self._findings.append(Finding("damaged-record", result.key, f"{result.label}: {detail}"))
                damaged.append(result)
        if self._repair:
            self._store.ac.mark_evicted(damaged)
        return sound

    def _damage(self, output: Digest) -> str | None:
        """What keeps an output from being used, if anything."""
        if output not in self._sizes:
            return f"its output {output} is missing or corrupt"
        tree = self._store.cas.peek_tree(output)
        if tree is None:
            return f"its output {output} is not a valid tree"
        for file in tree.files:
            if file.digest not in self._sizes:
                return f"{file.path} ({file.digest}) is missing or corrupt"
            if file.size != self._sizes[file.digest]:
                return f"{file.path} ({file.digest}) has {self._sizes[file.digest]} bytes, not {file.size}"
        return None

    def _check_leftovers(self) -> None:
        for path in self._store.dir.leftovers():
            self._findings.append(Finding("leftover", os.path.basename(path), "an unfinished write"))
            if self._repair:
                self._store.discard(Path(path))

    def _bad(self, kind: Literal["corrupt-object", "stray-file", "bad-record"], path: str, detail: str) -> None:
        self._findings.append(Finding(kind, os.path.basename(path), detail))
        if self._repair:
            self._store.dir.quarantine(path)
