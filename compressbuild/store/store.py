"""The store: the cache directory as the rest of the engine sees it."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any

import msgspec

from compressbuild.digest import Digest
from compressbuild.errors import StoreError
from compressbuild.store.ac import ActionCache, ActionResult
from compressbuild.store.cachedir import CacheDir
from compressbuild.store.cas import CAS
from compressbuild.store.fs import FileSystem, explained
from compressbuild.store.locks import READ_ONLY, ActionLocks, Lock, SharedExclusive
from compressbuild.store.shared import Shared

__all__ = ["Damaged", "Evicted", "Hit", "Store"]

_POLL_SECONDS = 0.1


class Hit(msgspec.Struct, frozen=True, tag=True):
    """The output is there and was verified."""

    result: ActionResult


class Evicted(msgspec.Struct, frozen=True, tag=True):
    """The output's digest is known and its bytes are not there: gc removed them, or the record is a shared cache's."""

    result: ActionResult


class Damaged(msgspec.Struct, frozen=True, tag=True):
    """The output should be there and is not, or was corrupt: run the action again. ``reason``: what was found."""

    result: ActionResult
    reason: str


class Store:
    """Objects (``cas``), action records (``ac``) and action locks (``locks``) in one directory, made when missing.

    Several processes may use it at once, and one process from several threads. ``sync=False`` leaves syncing to the
    kernel: a killed process still loses nothing, a power failure may lose or damage what is recent (the damage is
    found by `cbuild cache verify`). Close it, or use it as a context manager. Errors are StoreErrors.
    """

    def __init__(self, path: Path, *, sync: bool = True, fs: FileSystem | None = None) -> None:
        with explained(f"open the cache {path}"):
            self.dir = CacheDir(os.fspath(path), fs or FileSystem(), sync=sync)
        self.cas = CAS(self.dir)
        self.ac = ActionCache(self.dir)
        self.locks = ActionLocks(f"{self.dir.root}/locks/actions")
        self.measuring = SharedExclusive(f"{self.dir.root}/locks/measuring")
        self.users = SharedExclusive(f"{self.dir.root}/locks/users")
        self._use: Lock | None = None
        self._unlockable = False
        self._pending: dict[Digest, ActionResult] = {}
        self._known: dict[Digest, Hit] = {}
        self._batches = 0
        self._mutex = RLock()
        self.shared = Shared(self.dir, self.ac, self.cas, self._mutex)

    @property
    def path(self) -> Path:
        return Path(self.dir.root)

    # -- using -----------------------------------------------------------------------------------------------------

    def use(self) -> None:
        """Keep gc away until ``close``: what a lookup finds stays. A build calls this first; writing implies it. Waits,
        and says so, while another process cleans the cache."""
        with self._mutex:
            if self._use is None and not self._unlockable:
                self._use = self._shared()

    def _shared(self) -> Lock | None:
        """The users' lock, once no gc holds it. None if the cache is read-only and has no lock file: then nobody can
        clean it either."""
        try:
            lock = self.users.try_shared()
            if lock is None:
                print(f"waiting: another process is cleaning the cache {self.dir.root}", file=sys.stderr, flush=True)
            while lock is None:
                time.sleep(_POLL_SECONDS)
                lock = self.users.try_shared()
            return lock
        except StoreError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in (*READ_ONLY, errno.ENOENT):
                raise
            self._unlockable = True
            return None

    def close(self) -> None:
        """Flush, save the tables, let gc in. The store may be used again."""
        with self._mutex:
            try:
                self.flush()
            finally:
                self._save_tables()
                if self._use is not None:
                    self._use.release()
                    self._use = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _save_tables(self) -> None:
        temporary = self.dir.temporary()
        if self.dir.queue:  # a sync failed: what the table would call durable may not be
            return
        try:
            self.cas.verified.save(self.dir.fs, temporary)
        except BaseException as error:  # a signal, too, leaves nothing behind
            with suppress(OSError):
                self.dir.discard(temporary)
            # On a full or read-only disk: without the table, objects are hashed once more next time.
            if not isinstance(error, OSError):
                raise

    # -- writing ---------------------------------------------------------------------------------------------------

    def scratch(self) -> Path:
        """A new empty directory on the store's file system; gc removes it if its user does not."""
        self.use()
        path = self.dir.temporary()
        with explained("make a scratch directory"):
            self.dir.fs.make_dir(path)
        return Path(path)

    def discard(self, scratch: Path) -> None:
        """Remove a scratch directory and all that is in it."""
        with explained(f"remove {scratch}"):
            self.dir.fs.remove_tree(os.fspath(scratch))

    def abandon(self, scratch: Path) -> None:
        """The same, as far as it can be done: gc removes the rest."""
        with suppress(StoreError):
            self.discard(scratch)

    def tidy(self) -> None:
        """Remove what this store's process has left unfinished, as after an interrupt."""
        for path in self.dir.own_temporaries():
            with suppress(OSError):  # gc does it later
                self.dir.fs.remove_tree(path)

    def commit(
        self,
        directory: Path,
        *,
        key: Digest,
        kind: str,
        label: str,
        seconds: float,
        peak_rss: int,
        facts: Mapping[str, Any],
        sandbox: str = "",
        consume: bool = False,
    ) -> ActionResult:
        """Store a finished action's output directory, then its record; both are durable when this returns (in a
        batch: when it ends).

        ``consume``: no process can write to the directory any more, and nobody needs it: files are moved rather than
        copied, and it is removed. ``facts``: JSON values, else TypeError. StoreError if the directory holds
        anything but regular files and directories, or if it cannot be stored; then there is no record.
        """
        msgspec.json.encode(facts)  # fail before anything is written
        self.use()
        with self._mutex:
            self.dir.queue.deferring = self._batches > 0
            tree = self.cas.put_tree(directory, consume=consume)
            result = ActionResult(
                key=key,
                output=tree.digest,
                kind=kind,
                label=label,
                size=tree.size,
                seconds=float(seconds),
                peak_rss=int(peak_rss),
                facts=dict(facts),
                created=time.time(),
                sandbox=sandbox,
            )
            self._pending[key] = result
            if not self._batches:
                self.flush()
        if consume:
            self.discard(directory)
        return result

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Sync the commits made inside together, at the end, which is many times faster for small outputs.

        Until then this store alone sees them: hold their actions' locks. A process killed before loses them.
        """
        with self._mutex:
            self._batches += 1
        try:
            yield
        finally:
            with self._mutex:
                self._batches -= 1
                if not self._batches:
                    self.flush()

    def flush(self) -> None:
        """Write the records of a batch so far, after their objects are durable. On an error they are dropped."""
        with self._mutex:
            self.dir.queue.deferring = False
            pending, self._pending = list(self._pending.values()), {}
            if pending:
                self.ac.put(*pending)
                self._known.update((result.key, Hit(result)) for result in pending)
            with explained("sync the cache"):
                self.dir.queue.drain()
        self.shared.offer(pending)

    # -- reading ---------------------------------------------------------------------------------------------------

    def lookup(self, key: Digest, *, touch: bool = True) -> Hit | Evicted | Damaged | None:
        """What is known of an action, its output verified: by stat, or by hash where the stat has changed.

        ``touch``: count it as a use, for gc. A damaged record counts as absent.
        """
        result = self._pending.get(key) or self.ac.get(key) or self.shared.get(key)
        if result is None:
            return None
        if touch and key not in self._pending:
            with suppress(StoreError):  # a read-only cache serves as well; only gc's order is the poorer
                self.ac.touch(key)
        problems = self.cas.check_tree(result.output)
        if not problems:  # perhaps since another action has produced the same bytes
            hit = self._known[key] = Hit(msgspec.structs.replace(result, evicted=False) if result.evicted else result)
            return hit
        self._known.pop(key, None)
        if result.evicted:
            return Evicted(result)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return Damaged(result, f"{problems[0]}{more}")

    def known(self, key: Digest) -> Hit | None:
        """What this store itself has found or stored, not verified again."""
        return self._known.get(key)

    def materialise(self, digest: Digest, destination: Path, *, writable: bool = False) -> None:
        """Write the output ``digest`` to a new directory: see ``CAS.materialise``."""
        self.use()
        self.cas.materialise(digest, destination, writable=writable)
