"""Sends each node to the machine that its request names, and collects what happens on all of them."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from ..api.work import WorkRequest
from .away import Away
from .executor import Finished, Happening
from .local import LocalExecutor

__all__ = ["Routed"]


class Routed:
    """An :class:`~compressbuild.execute.executor.Executor`. ``here``: of this machine; ``away``: makes that of another,
    or of a worker, by its address."""

    def __init__(self, here: LocalExecutor, away: Callable[[str], Away]) -> None:
        self._here, self._make = here, away
        self._away: dict[str, Away] = {}
        self._running: dict[int, LocalExecutor | Away] = {}

    def start(
        self,
        token: int,
        request: WorkRequest,
        *,
        preload: tuple[str, ...],
        log: Path,
        timeout: float | None,
        memory: int | None,
    ) -> None:
        where: LocalExecutor | Away = self._here
        if request.host:
            if request.host not in self._away:
                self._away[request.host] = self._make(request.host)
            where = self._away[request.host]
        self._running[token] = where
        where.start(token, request, preload=preload, log=log, timeout=timeout, memory=memory)

    def wait(self, timeout: float | None = None) -> list[Happening]:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            places: list[LocalExecutor | Away] = [self._here, *self._away.values()]
            found = [happening for place in places for happening in place.wait(0)]
            for happening in found:
                if isinstance(happening, Finished):
                    self._running.pop(happening.token, None)
            left = None if deadline is None else deadline - time.monotonic()
            if found or (left is None and not self._running) or (left is not None and left <= 0):
                return found
            select.select([place.fileno() for place in places], [], [], left)

    def cancel(self, token: int) -> None:
        if (place := self._running.get(token)) is not None:
            place.cancel(token)

    def close(self) -> None:
        leaving = [Thread(target=place.close) for place in self._away.values()]  # each may take seconds
        for thread in leaving:
            thread.start()
        for thread in leaving:
            thread.join()
        self._here.close()
        self._running.clear()
