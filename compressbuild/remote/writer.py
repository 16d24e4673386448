"""Adding results to the object store, behind the build: first the output, then the signed record that names it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Condition, Lock

from ..digest import Digest, bytes_digest
from ..errors import StoreError
from ..signing import PublicKey, SigningKey
from ..store import ActionResult, Store, Tree
from .health import Health
from .objects import Objects, TooLarge, Unreachable
from .reader import Reader
from .record import RECORD_LIMIT, SMALL, Bundle, blob_name, pack, record_name, tree_name
from .unsent import Unsent
from .workers import Workers

__all__ = ["Writer"]

_ATTEMPTS = 5
_BUNDLED = 8 << 20
"""Bytes of small files that travel with their tree; the others are objects of their own."""


class Writer:
    """``sent``, ``kept``: results that were added, and those that another machine had added before. ``size``: bytes
    sent."""

    def __init__(
        self,
        objects: Objects,
        key: Callable[[], SigningKey],
        trust: Callable[[], Mapping[str, PublicKey]],
        store: Store,
        reader: Reader,
        health: Health,
        unsent: Unsent,
        threads: int,
    ) -> None:
        self._objects, self._key, self._trust, self._store = objects, key, trust, store
        self._reader, self._health, self._unsent = reader, health, unsent
        self._workers = Workers(threads)
        self._changed = Condition()
        self._there: set[str] = set()  # objects that are known to be there
        self._sending: dict[str, Lock] = {}  # by object: two results may have the same file
        self._queue: deque[ActionResult] = deque()
        self._closed = False
        self.offered = self.ended = 0
        self.sent = self.kept = self.size = 0

    # -- the queue ---------------------------------------------------------------------------------------------------

    def offer(self, results: Iterable[ActionResult]) -> None:
        """Send these in the background. They are noted as unsent until they are there."""
        for result in results:
            spoiled = result.key in self._reader.spoiled
            self._unsent.add(result.key, sorted(self._reader.bad) if spoiled else ())
            with self._changed:
                self.offered += 1
                self._queue.append(result)
            self._workers.run(self._next)

    @property
    def left(self) -> int:
        """Results that are not there yet."""
        return self.offered - self.sent - self.kept

    def wait(self, seconds: float) -> bool:
        """Whether every offered result came to an end, within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ended == self.offered, seconds)

    def close(self) -> None:
        """Begin nothing more. What is on its way ends with the process: an object appears whole or not at all."""
        self._closed = True

    def _next(self) -> None:
        with self._changed:
            result = self._queue.popleft()
        outcome = ""
        try:
            if not self._closed and not self._health.down:
                outcome = self._send(result)
        except Unreachable as error:
            self._health.failed(str(error))
        except (StoreError, OSError) as error:
            self._health.refuse(f"'{result.label}'", f"cannot be sent: {error}")
        finally:
            if outcome:
                self._unsent.remove(result.key)
            with self._changed:
                self.ended += 1
                self.sent += outcome == "sent"
                self.kept += outcome == "kept"
                self._changed.notify_all()

    # -- one result --------------------------------------------------------------------------------------------------

    def _send(self, result: ActionResult) -> str:
        """``sent``, or ``kept`` if a trusted record is there already."""
        name = record_name(result.key)
        if not self._reader.asked(result.key) and self._serves(result):
            return "kept"
        tree = self._store.cas.read_tree(result.output)
        bundle = self._bundle(tree, whole=not result.imported)
        if not result.imported:
            for file in tree.files:
                if file.digest not in bundle.files:
                    self._blob(file.digest, file.size)
        small = len(bundle.encode()) <= SMALL
        if not small:
            self._object(tree_name(result.output), bundle.encode())
        data = pack(result, bundle if small else None, self._key())
        for _ in range(_ATTEMPTS):
            if self._objects.create(name, data) or (not self._serves(result) and self._replace(name, data)):
                self._count(len(data))
                return "sent"
            if self._serves(result):
                return "kept"
        raise Unreachable(f"{name} was changed by others {_ATTEMPTS} times")

    def _replace(self, name: str, data: bytes) -> bool:
        """Write over what nobody can use, unless it has changed since."""
        try:
            got = self._objects.get(name, RECORD_LIMIT)
        except TooLarge:
            return self._objects.replace(name, data, None)
        return got is not None and self._objects.replace(name, data, got.tag)

    def _serves(self, result: ActionResult) -> bool:
        """Whether a trusted record is there, whose output is not known to be lost. The first writer wins."""
        found = self._reader.record(result.key, self._trust())
        if self._health.down:
            raise Unreachable(self._health.down)
        if found is None or result.key in self._reader.spoiled:
            return False
        bundle = found[1]  # which the signature covers by the digests of its files alone
        return bundle is None or all(bytes_digest(data) == digest for digest, data in bundle.files.items())

    def _bundle(self, tree: Tree, *, whole: bool) -> Bundle:
        """The tree and its small files, as many as fit. Those of an import stay out: each machine has its own."""
        files: dict[Digest, bytes] = {}
        room = _BUNDLED if whole else 0
        for file in tree.files:
            if file.size < SMALL and file.size <= room and file.digest not in files:
                files[file.digest] = self._store.cas.read(file.digest)
                room -= file.size
        return Bundle(tree.encode(), files)

    def _blob(self, digest: Digest, size: int) -> None:
        def upload(name: str) -> None:
            if (problem := self._store.cas.check(digest)) is not None:
                raise StoreError(str(problem))
            self._objects.upload(name, Path(self._store.dir.object(digest)))

        self._once(blob_name(digest), size, upload)

    def _object(self, name: str, data: bytes) -> None:
        self._once(name, len(data), lambda name: self._objects.replace(name, data, None))

    def _once(self, name: str, size: int, write: Callable[[str], object]) -> None:
        """Write an object unless it is there, and sound as far as is known."""
        with self._changed:
            lock = self._sending.setdefault(name, Lock())
        with lock:
            bad = name in self._reader.bad
            if name in self._there and not bad:
                return
            if bad or self._objects.size(name) != size:
                write(name)
                self._reader.bad.discard(name)
                self._count(size)
            self._there.add(name)

    def _count(self, size: int) -> None:
        with self._changed:
            self.size += size
            self._changed.notify_all()
