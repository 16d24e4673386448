"""Taking results from the object store. Nothing is used before its signature and its digests were verified."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from pathlib import Path
from threading import Lock

from ..digest import Digest, bytes_digest, file_digest
from ..errors import StoreError
from ..signing import PublicKey
from ..store import ActionResult, Store, Tree, TreeFile
from .health import Health
from .objects import Objects, TooLarge, Unreachable
from .record import RECORD_LIMIT, Bundle, Refused, Untrusted, blob_name, record_name, tree_name, unpack
from .workers import Workers

__all__ = ["BUNDLE_LIMIT", "Reader"]

BUNDLE_LIMIT = 16 << 20
"""Bytes of the largest tree with its small files."""
_KEPT = 64 << 20
"""Bytes of small outputs, which came with their records, that are kept in memory until they are needed."""


class Reader:
    """``bad``: names of objects that were refused; ``spoiled``: actions whose output cannot be had. A writer may
    replace both."""

    def __init__(
        self, objects: Objects, trust: Callable[[], Mapping[str, PublicKey]], store: Store, health: Health, threads: int
    ) -> None:
        self._objects, self._trust, self._store, self._health = objects, trust, store, health
        self._workers = Workers(threads)
        self._asked: set[Digest] = set()
        self._bundles: dict[Digest, Bundle] = {}
        self._kept = 0
        self._round = 0
        self._lock = Lock()
        self.bad: set[str] = set()
        self.spoiled: set[Digest] = set()

    # -- records -----------------------------------------------------------------------------------------------------

    def find(self, keys: Collection[Digest]) -> list[ActionResult]:
        """The trusted records of these actions, asked for in parallel. Each key is asked for once."""
        wanted = [key for key in keys if key not in self._asked]
        self._asked.update(wanted)
        if not wanted or self._health.down:
            return []
        trust = self._trust()
        asked = [self._workers.run(lambda key=key: self._find(key, trust)) for key in wanted]  # type: ignore[misc]
        return [result for future in asked if (result := future.result()) is not None]

    def asked(self, key: Digest) -> bool:
        """Whether this reader has looked for the record."""
        return key in self._asked

    def _find(self, key: Digest, trust: Mapping[str, PublicKey]) -> ActionResult | None:
        found = self.record(key, trust)
        if found is None:
            return None
        result, bundle = found
        if bundle is not None:
            size = len(bundle.tree) + sum(map(len, bundle.files.values()))
            with self._lock:
                if self._kept + size <= _KEPT:
                    self._kept += size
                    self._bundles[key] = bundle
        return result

    def record(self, key: Digest, trust: Mapping[str, PublicKey]) -> tuple[ActionResult, Bundle | None] | None:
        """The trusted record of an action, now. None if there is none, or the store does not answer."""
        if self._health.down:
            return None
        name = record_name(key)
        try:
            got = self._objects.get(name, RECORD_LIMIT)
            return unpack(got.data, key, trust) if got is not None else None
        except Unreachable as error:
            self._health.failed(str(error))
        except Untrusted as error:
            self.bad.add(name)
            self._health.untrusted(error.keyid)
        except (Refused, TooLarge) as error:
            self._refuse(name, f"the record of action {key[:12]}", str(error))
        return None

    def _refuse(self, name: str, what: str, why: str) -> None:
        self.bad.add(name)
        self._health.refuse(what, why)

    # -- outputs -----------------------------------------------------------------------------------------------------

    def fetch(self, result: ActionResult) -> Future[bool]:
        began = self._round
        return self._workers.run(lambda: self._fetched(result, began))

    def abandon(self) -> None:
        """Nobody waits any more for what is on its way, and its files may go: that it fails then means nothing."""
        self._round += 1

    def _fetched(self, result: ActionResult, began: int) -> bool:
        try:
            here = not self._health.down and began == self._round and self._fetch(result)
        except Unreachable as error:
            here = False
            if began == self._round:
                self._health.failed(str(error))
        except (StoreError, OSError, ValueError) as error:  # of the local disk; or a signed tree that is none
            here = False
            if began == self._round:
                what, hint = f"the output of '{result.label}'", getattr(error, "hint", None)
                self._health.refuse(what, f"cannot be stored: {error}" + (f" ({hint})" if hint else ""))
        if not here and not self._health.down and began == self._round:
            self.spoiled.add(result.key)
        return here

    def _fetch(self, result: ActionResult) -> bool:
        scratch = self._store.shared.scratch()
        try:
            bundle = self._bundle(result)
            if bundle is None:
                return False
            tree = Tree.decode(bundle.tree)
            files: dict[Digest, bytes | Path] = {}
            for file in tree.files:
                if file.digest not in files and self._store.cas.check(file.digest) is not None:
                    source = self._file(file, bundle, scratch, result)
                    if source is None:
                        return False
                    files[file.digest] = source
            self._store.shared.receive(result, bundle.tree, files)
        finally:
            self._store.abandon(scratch)  # gc removes what this cannot
        return True

    def _bundle(self, result: ActionResult) -> Bundle | None:
        """The tree with its small files: at hand, in the record, or an object of its own."""
        with self._lock:
            bundle = self._bundles.pop(result.key, None)
            if bundle is not None:
                self._kept -= len(bundle.tree) + sum(map(len, bundle.files.values()))
        if bundle is None:
            found = self.record(result.key, self._trust())
            bundle = found[1] if found is not None and found[0].output == result.output else None
        if bundle is None and not self._health.down:
            name = tree_name(result.output)
            try:
                got = self._objects.get(name, BUNDLE_LIMIT)
                bundle = Bundle.decode(got.data, result.output) if got is not None else None
            except (Refused, TooLarge) as error:
                self._refuse(name, f"the tree of '{result.label}' ({result.output[:12]})", str(error))
        return bundle

    def _file(self, file: TreeFile, bundle: Bundle, scratch: Path, result: ActionResult) -> bytes | Path | None:
        """The verified content of a file; None if it is not to be had."""
        what = f"'{file.path}' of '{result.label}' ({file.digest[:12]})"
        data = bundle.files.get(file.digest)
        if data is not None:
            if bytes_digest(data) == file.digest:
                return data
            self.bad.add(tree_name(result.output))
            self._health.refuse(what, "has other bytes than its digest says")
            return None
        name, path = blob_name(file.digest), scratch / file.digest
        if not self._objects.download(name, file.size, path):
            if not result.imported:  # a machine reads its own copy of what it imports, and shares none
                self._refuse(name, what, "is missing or has another size")
            return None
        if file_digest(path) != file.digest:
            self._refuse(name, what, "has other bytes than its digest says")
            return None
        return path
