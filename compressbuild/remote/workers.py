"""Threads that talk to the object store. They are daemons: nobody waits for a request when the command ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

__all__ = ["Workers"]

T = TypeVar("T")


class Workers:
    """At most ``most`` threads, started when there is work for them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads = 0
        self._open = 0
        self._lock = Lock()
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Do ``work`` in a thread; what it raises is the future's."""
        future: Future[T] = Future()
        with self._lock:
            self._open += 1
            if self._threads < min(self._open, self._most):
                self._threads += 1
                Thread(target=self._serve, name="remote-cache", daemon=True).start()
        self._queue.put((future, work))
        return future

    def _serve(self) -> None:
        while True:
            future, work = self._queue.get()
            if future.set_running_or_notify_cancel():
                try:
                    result = work()
                except BaseException as error:  # noqa: BLE001  handed to whoever waits
                    future.set_exception(error)
                else:
                    future.set_result(result)
            with self._lock:
                self._open -= 1
            del future, work
