"""How often a node that failed starts once more, by the cause of its failure, and with how much memory."""

from __future__ import annotations

from collections import Counter

from ..compressfile.spec import RETRIED
from ..graph import Node
from .executor import Cause

__all__ = ["Retries"]

_MORE = 2  # times the memory at each retry for want of it


class Retries:
    """Counts the failures of one build."""

    def __init__(self) -> None:
        self._failures: Counter[tuple[int, str]] = Counter()

    def again(self, node: Node, cause: Cause) -> bool:
        """Whether a node that ended so starts once more."""
        asked = node.options.retries
        if asked is None or cause not in RETRIED:
            return False
        if cause == "memory" and self.memory(node) is None:
            return False  # nothing would be different
        self._failures[node.index, cause] += 1
        return self._failures[node.index, cause] <= int(getattr(asked, cause))

    def memory(self, node: Node) -> int | None:
        """Its limit in bytes: twice as much after each failure for want of it."""
        limit = node.options.memory
        return None if limit is None else limit * int(_MORE ** self._failures[node.index, "memory"])
