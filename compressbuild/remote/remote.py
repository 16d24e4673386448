"""The remote cache of a project: what its store asks, and what is sent behind a build."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path

from ..digest import Digest
from ..signing import SigningKey
from ..store import ActionResult, Store
from .health import Health, warn
from .objects import Objects, ObjectStore
from .reader import Reader
from .settings import Settings
from .unsent import Unsent
from .writer import Writer

__all__ = ["Remote"]

_READERS = 32
_WRITERS = 8
_TICK = 0.25
"""Seconds between two reports of progress."""


class Remote:
    """A ``store.Upstream``. Making one opens no connection and reads no key: the first request does.

    ``state``: the checkout's directory, for notes of what is still to be sent. ``objects``: instead of what lies at the
    settings' URL. ``say``: takes a warning.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        state: Path,
        environ: Mapping[str, str],
        *,
        objects: Objects | None = None,
        say: Callable[[str], None] = warn,
    ) -> None:
        self.settings = settings
        self._store = store
        self.objects = objects or ObjectStore(settings.url, environ, settings.timeout)
        self.health = Health(settings.url, say)
        self._unsent = Unsent(state / "unsent")
        self._recalled = False
        self.reader = Reader(self.objects, lambda: settings.trust, store, self.health, _READERS)
        self.writer = Writer(
            self.objects, self._key, lambda: settings.trust, store, self.reader, self.health, self._unsent, _WRITERS
        )

    def _key(self) -> SigningKey:
        assert self.settings.signer is not None
        return self.settings.signer

    # -- the store's side --------------------------------------------------------------------------------------------

    def find(self, keys: Collection[Digest]) -> list[ActionResult]:
        return self.reader.find(keys)

    def fetch(self, result: ActionResult) -> Future[bool]:
        return self.reader.fetch(result)

    def offer(self, results: Iterable[ActionResult]) -> None:
        if not self.settings.read_only:
            self._recall()
            self.writer.offer(results)

    # -- the build's side --------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Warn now if a package is missing. Nothing is imported."""
        for package in ("obstore", "cryptography"):
            if find_spec(package) is None:
                self.health.failed(f"the package '{package}' is not installed: pip install 'compressbuild[remote]'")

    def resume(self) -> None:
        """Send what an earlier build could not."""
        if self.settings.read_only:
            return
        for key in self._recall():
            result = self._store.ac.get(key)
            if result is None or result.evicted:
                self._unsent.remove(key)
            else:
                self.writer.offer([result])

    def _recall(self) -> list[Digest]:
        """What an earlier process left to send. What it knew to be damaged there, this one takes to be so, too."""
        if self._recalled:
            return []
        self._recalled = True
        try:
            notes = self._unsent.read()
        except OSError as error:
            self.health.unsure(f"what an earlier build could not send is not known: {error.strerror}")
            return []
        for key, bad in notes.items():
            if bad:
                self.reader.spoiled.add(key)
                self.reader.bad.update(bad)
        return list(notes)

    def finish(self, tick: Callable[[int, int, int], None]) -> int:
        """Wait for what is on its way to the store; how many results are not there. ``tick``: is given how many of how
        many came to an end, and the bytes sent, some times a second."""
        writer = self.writer
        while not writer.wait(_TICK):
            tick(writer.ended, writer.offered, writer.size)
        return writer.left

    def abandon(self) -> None:
        """The build has ended: whatever is still fetched, for a node that will not run, is of no use."""
        self.reader.abandon()

    def close(self) -> None:
        self.writer.close()
