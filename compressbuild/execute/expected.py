"""How long nodes are expected to take, and what they will need: by what they took before."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..graph import Graph, Node
from ..plan import Traces
from .pools import Need
from .retries import Retries

__all__ = ["UNKNOWN", "Expected"]

UNKNOWN = 1.0
"""Seconds that a node counts as when its function has not been seen to run."""


class Expected:
    """``nodes``: those of the build. A node is expected to take as long as it last did. A new one counts as the mean of
    those that call the same function, in earlier builds or in this one."""

    def __init__(self, nodes: Iterable[Node], traces: Traces) -> None:
        self._traces = traces
        self.retries = Retries()
        self._functions: dict[str, tuple[float, int]] = {}  # function → seconds in all, runs
        for node in nodes:
            if (last := traces.get(node.position)) is not None:
                self._count(node.run, last.seconds)

    def seconds(self, node: Node) -> float:
        """Of its own work, without the start of its process."""
        if (last := self._traces.get(node.position)) is not None:
            return last.seconds
        total, runs = self._functions.get(node.run, (UNKNOWN, 1))
        return total / runs

    def need(self, node: Node) -> Need:
        """Its declared memory, or else its last peak."""
        last = self._traces.get(node.position)
        memory = self.retries.memory(node) or (last.peak_rss if last is not None else 0)
        return Need(
            cpus=node.options.threads or 1,
            memory=memory,
            exclusive=node.exclusive,
            host=node.host,
            gpus=node.options.gpus or 0,
        )

    def priority(self, graph: Graph, needed: Collection[int], alone: Collection[int]) -> list[float]:
        """By node: the seconds of the longest path from it, of nodes that are ``needed``. Those that run ``alone`` add
        the same time to a build whenever they run. So they count as none, and mostly run when nothing else is left."""

        def cost(node: Node) -> float:
            return self.seconds(node) if node.index in needed and node.index not in alone else 0.0

        return graph.criticality(cost)

    def ran(self, node: Node, seconds: float) -> None:
        """It has run for the first time, or once more."""
        self._count(node.run, seconds)

    def _count(self, function: str, seconds: float) -> None:
        total, runs = self._functions.get(function, (0.0, 0))
        self._functions[function] = total + seconds, runs + 1
