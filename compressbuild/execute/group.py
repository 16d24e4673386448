"""Results that are made faster than a disk can sync one by one, and so are synced together.

While a group is open, its results are in the store's batch: nodes of this build go on with them, and nobody else sees
them, for their actions stay locked. What is announced is durable: the end of a node is made known when its group is
synced, so a killed build repeats nothing that it said was finished.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import NamedTuple

from ..store import Store
from .holding import release
from .outcome import Outcome
from .run import Run

__all__ = ["Ended", "Group"]

_HURRY = 0.005  # seconds since the last result: then the next is not synced alone, nor if syncing one takes longer
_PATIENCE = 0.05  # seconds that a result waits at most
_MOST = 200


class Ended(NamedTuple):
    """``run``: None if it did not run. ``again``: it had ended before."""

    node: int
    outcome: Outcome
    run: Run | None
    again: bool


class Group:
    """Open from the first result that comes in a hurry until ``sync``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._batch = ExitStack()
        self._waiting: list[Ended] = []
        self._opened = 0.0
        self._last = 0.0
        self._began = 0.0  # the last sync
        self._cost = 0.0  # seconds of it, publishing included
        self.is_open = False

    def open_if_hurried(self) -> None:
        """Call it before a result is committed."""
        if self.is_open:
            return
        now = self._began = time.monotonic()  # outside of a group, committing is syncing
        if now - self._last < max(_HURRY, min(self._cost, _PATIENCE)):
            self._batch.enter_context(self._store.batch())
            self._opened = now
            self.is_open = True

    def committed(self) -> None:
        """Call it after."""
        self._last = time.monotonic()

    def announced(self) -> None:
        """Call it when what was synced is announced, and its targets are published."""
        self._last = time.monotonic()
        self._cost = self._last - self._began

    def add(self, ended: Ended) -> None:
        self._waiting.append(ended)

    @property
    def is_due(self) -> bool:
        return self.is_open and (len(self._waiting) >= _MOST or time.monotonic() - self._opened > _PATIENCE)

    @property
    def pause(self) -> float | None:
        """How long to wait for more; None for as long as it takes."""
        return 0.0 if self.is_open else None

    def sync(self) -> list[Ended]:
        """Make all results durable, and return them. Raises StoreError; then none of them has a record."""
        if self.is_open:
            self._began = time.monotonic()
        self.is_open = False
        ended, self._waiting = self._waiting, []
        try:
            self._batch.close()
        except BaseException:  # also an interrupt: locks are released, and it is raised again
            for each in ended:
                release(each.run.locks if each.run is not None else ())
            raise
        return ended
