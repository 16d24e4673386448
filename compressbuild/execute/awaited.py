"""Targets wait for the results of their nodes; those that are complete are finished together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

__all__ = ["Awaited"]

_MOST = 200
"""Targets that are finished together at most: so many are staged at once, and a signal waits for no more."""


class Awaited:
    """``finish(names)`` is called with targets whose nodes have all ended, each once."""

    def __init__(self, finish: Callable[[Sequence[str]], None]) -> None:
        self._finish = finish
        self._readers: dict[int, list[str]] = {}  # node → targets that read its result
        self._left: dict[str, int] = {}  # target → results it still waits for
        self._complete: list[str] = []

    def add(self, name: str, nodes: Iterable[int]) -> None:
        """A target that reads the results of ``nodes``, each named once."""
        nodes = tuple(nodes)
        self._left[name] = len(nodes)
        for node in nodes:
            self._readers.setdefault(node, []).append(name)

    def __contains__(self, node: int) -> bool:
        """Whether a target reads its result."""
        return node in self._readers

    def ended(self, node: int) -> None:
        """Call it once for each node."""
        for name in self._readers.get(node, ()):
            self._left[name] -= 1
            if self._left[name] == 0:
                self._complete.append(name)
        if len(self._complete) >= _MOST:
            self.finish()

    def finish(self) -> None:
        """Finish the targets that are complete now."""
        if self._complete:
            names, self._complete = self._complete, []
            self._finish(names)
