"""Outputs on their way here from a cache that machines share."""

from __future__ import annotations

from concurrent.futures import Future

from ..store import ActionResult, Store

__all__ = ["Fetching"]

_POLL = 0.01  # seconds between looks


class Fetching:
    """Nodes whose outputs were asked for, until they are here or cannot be had."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[int, Future[bool]] = {}

    def start(self, node: int, result: ActionResult | None) -> bool:
        """Ask for an output. False if nothing is known of it, or there is nowhere to ask."""
        future = self._store.shared.fetch(result) if result is not None else None
        if future is not None:
            self._open[node] = future
        return future is not None

    def arrived(self) -> list[int]:
        """The nodes whose requests have ended since; the store knows how."""
        ended = [node for node, future in self._open.items() if future.done()]
        for node in ended:
            self._open.pop(node).result()
        return ended

    @property
    def is_open(self) -> bool:
        return bool(self._open)

    @property
    def pause(self) -> float | None:
        """How long to wait before the next look; None if nothing is on its way."""
        return _POLL if self._open else None
