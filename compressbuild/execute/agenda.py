"""What a build does next: the nodes that wait, are due for a decision, ready to run, or held. Pure bookkeeping.

A node *waits* for its inputs. When all have ended it is *due*: whoever holds the agenda looks up its result, and calls
:meth:`ended`, or :meth:`queue` if it must run. Of the *ready* nodes, :meth:`next` gives the one with the longest
path ahead of it. A node that cannot start now is put off to the next round, or *held* while another process runs it.
Nodes of one machine queue together, and are passed over while it is full: a round costs the same however many wait.

Nodes that must run *alone* go first when the machine is idle. They take the same time whenever they run, and each wait
until the machine is idle costs the slots that fall idle before it, so they should share one.

A node that ends without a result stops the build: nothing more is given out. With ``keep_going`` only what depends on
it is lost. A node that lacks an input is due like any other, and ends without a result.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

__all__ = ["Agenda"]

_Heap = list[tuple[float, int]]
"""Of (-priority, node)."""
_Full = Callable[[str, bool], bool]


class Agenda:
    """``inputs``: node → the nodes it needs, for every node of the build, in topological order. ``priority``: by node,
    the length of the longest path from it. ``alone``: the nodes beside which nothing runs. ``places``: by node, the
    address of the machine that it runs on; empty, or not there: this one."""

    def __init__(
        self,
        inputs: Mapping[int, Collection[int]],
        priority: Sequence[float],
        *,
        alone: Collection[int] = (),
        places: Mapping[int, str] | None = None,
        keep_going: bool = False,
    ) -> None:
        self._inputs = {node: frozenset(sources) for node, sources in inputs.items()}
        self._priority = priority
        self._alone = frozenset(alone)
        self._places = places or {}
        self._keep_going = keep_going
        self._consumers: dict[int, list[int]] = {node: [] for node in inputs}
        for node, sources in self._inputs.items():
            for source in sources:
                self._consumers[source].append(node)
        self._waiting = {node: len(sources) for node, sources in self._inputs.items()}
        self._due = [node for node, left in self._waiting.items() if left == 0]
        self._ready: dict[str, _Heap] = defaultdict(list)  # by place; none is empty
        self._ready_alone: dict[str, _Heap] = defaultdict(list)
        self._put_off: list[int] = []
        self._held: list[int] = []
        self._starved: dict[int, set[int]] = {}  # node → inputs that are made again for it
        self._ended: set[int] = set()
        self._lost: set[int] = set()  # ended without a result
        self.stopped = False

    # -- what is to be done ------------------------------------------------------------------------------------------

    def due(self) -> int | None:
        """A node whose inputs have all ended, each once; None if there is none."""
        return self._due.pop() if self._due else None

    def next(self, full: _Full = lambda place, alone: False, *, idle: bool = False) -> int | None:
        """The ready node of the highest priority, to be started now. None if there is none in this round. ``full(place,
        alone)``: whether a place can take no more of either sort in this round. ``idle``: nothing runs."""
        while not self.stopped and (found := self._first(full, idle=idle)) is not None:
            queues, place = found
            _, node = heapq.heappop(queues[place])
            if not queues[place]:
                del queues[place]
            if not self.lacks(node):
                return node
            self._due.append(node)  # an input was made again for another, and failed
        return None

    def _first(self, full: _Full, *, idle: bool) -> tuple[dict[str, _Heap], str] | None:
        """Where the next node is: its queues, and the place in them."""
        found = [(self._ready_alone, place) for place in self._ready_alone if not full(place, True)]
        if not (found and idle):
            found += [(self._ready, place) for place in self._ready if not full(place, False)]
        return min(found, key=lambda each: each[0][each[1]][0], default=None)

    def next_round(self) -> None:
        """Nodes that were put off or held are ready again."""
        again = [*self._put_off, *self._held]
        self._put_off.clear()
        self._held.clear()
        for node in again:
            self.queue(node)

    def lacks(self, node: int) -> bool:
        """Whether an input has ended without a result."""
        return not self._lost.isdisjoint(self._inputs[node])

    @property
    def is_due(self) -> bool:
        return bool(self._due)

    @property
    def is_held(self) -> bool:
        return bool(self._held)

    @property
    def is_done(self) -> bool:
        """Whether nothing can be decided or started, unless a node that runs ends."""
        return not self._due and (self.stopped or not (self._ready or self._ready_alone or self._put_off or self._held))

    def left(self) -> list[int]:
        """The nodes that have not ended, in topological order."""
        return [node for node in self._inputs if node not in self._ended]

    # -- what has been done ------------------------------------------------------------------------------------------

    def queue(self, node: int) -> None:
        """It must run, whether it has before or not."""
        queues = self._ready_alone if node in self._alone else self._ready
        heapq.heappush(queues[self._places.get(node, "")], (-self._priority[node], node))

    def put_off(self, node: int) -> None:
        """There is no room for it in this round."""
        self._put_off.append(node)

    def hold(self, node: int) -> None:
        """Another process has it, at least for this round."""
        self._held.append(node)

    def starve(self, node: int, sources: Collection[int]) -> None:
        """It cannot run until each of ``sources``, which are among its inputs, has ended once more."""
        self._starved[node] = set(sources)

    def ended(self, node: int, *, ok: bool) -> None:
        """``ok``: it has a result. What waited for it alone is due."""
        self.stopped = self.stopped or not (ok or self._keep_going)
        (self._lost.discard if ok else self._lost.add)(node)
        if node not in self._ended:
            self._ended.add(node)
            for consumer in self._consumers[node]:
                self._waiting[consumer] -= 1
                if self._waiting[consumer] == 0:
                    self._due.append(consumer)
        for starved, sources in list(self._starved.items()):
            sources.discard(node)
            if not sources:
                del self._starved[starved]
                self._due.append(starved)
