"""The pools of several machines, asked as one: what a node needs, it needs of its own machine.

An address may stand for several workers. A node goes to the idlest that has room; a measurement to the first, whose
machine its key names. A round costs the same however many workers are full, and however many nodes wait for them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence

from ..machines.machines import worker
from .pools import DEPTH, Need, Pools

__all__ = ["Places"]


class Places:
    """``here``: of this machine; ``make``: those of the workers at an address, made when it is first needed. None:
    there is no other machine."""

    def __init__(self, here: Pools, make: Callable[[str], Sequence[Pools]] | None = None) -> None:
        self._make = make
        self._addresses: dict[str, _Address] = {"": _Address([here])}
        self._granted: dict[int, tuple[str, int]] = {}  # node → address, number of the worker there

    @property
    def running(self) -> int:
        return len(self._granted)

    def is_full(self, host: str, alone: bool = False) -> bool:
        """Whether an address can take no more in this round; ``alone``: whether it can take no measurement."""
        return self._at(host).is_full(alone)

    def takes_all(self, need: Need) -> bool:
        """Whether nothing can run beside it at its address."""
        several = self._at(need.host).pools
        return several[0].takes_all(need) if len(several) == 1 else need.exclusive

    def next_round(self) -> None:
        for address in self._addresses.values():
            address.next_round()

    def try_acquire(self, node: int, need: Need, seconds: float, starting: float = 0.0) -> bool:
        """As :meth:`.Pools.try_acquire`."""
        number = self._at(need.host).try_acquire(node, need, seconds, starting)
        if number is not None:
            self._granted[node] = need.host, number
        return number is not None

    def began(self, node: int) -> None:
        self._pools(node).began(node)

    def place(self, node: int) -> str:
        """The address of the worker that has it; empty: this machine."""
        return worker(*self._granted[node])

    def devices(self, node: int) -> tuple[str, ...]:
        return self._pools(node).devices(node)

    def release(self, node: int) -> None:
        host, number = self._granted.pop(node)
        self._addresses[host].release(node, number)

    def _pools(self, node: int) -> Pools:
        host, number = self._granted[node]
        return self._addresses[host].pools[number]

    def _at(self, host: str) -> _Address:
        if host not in self._addresses:
            assert self._make is not None
            self._addresses[host] = _Address(self._make(host))
        return self._addresses[host]


class _Address:
    """Its workers; those that are not full are kept in order."""

    def __init__(self, pools: Sequence[Pools]) -> None:
        self.pools = tuple(pools)
        self._open = [(each.running, number) for number, each in enumerate(self.pools)]  # idlest first
        self._rank: list[int | None] = [0 for _ in self.pools]  # what each is in order by; None: it is full
        self._asked: set[int] = set()  # workers that refused something in this round
        self._refused: dict[Need, float] = {}  # what all refused in this round → the shortest time for which they did
        self._refusals = 0

    def is_full(self, alone: bool) -> bool:
        return self._refusals >= DEPTH or (self._rank[0] is None if alone else not self._open)

    def next_round(self) -> None:
        for number in self._asked:
            self.pools[number].next_round()
            self._settle(number)
        self._asked.clear()
        self._refused.clear()
        self._refusals = 0

    def try_acquire(self, node: int, need: Need, seconds: float, starting: float) -> int | None:
        """The number of the worker that takes it."""
        if self._refused.get(need, float("inf")) > starting + seconds:
            if (number := self._ask(node, need, seconds, starting)) is not None:
                return number
            self._refused[need] = starting + seconds
        self._refusals += 1
        return None

    def _ask(self, node: int, need: Need, seconds: float, starting: float) -> int | None:
        index = 0
        while index < len(self._open):
            number = 0 if need.exclusive else self._open[index][1]
            if self._rank[number] is None:
                break
            granted = self.pools[number].try_acquire(node, need, seconds, starting)
            if not granted:
                self._asked.add(number)
            self._settle(number)
            if granted:
                return number
            if need.exclusive:
                break
            if self._rank[number] is not None:
                index += 1
        return None

    def release(self, node: int, number: int) -> None:
        self.pools[number].release(node)
        self._settle(number)

    def _settle(self, number: int) -> None:
        """Put a worker where it belongs, after something in it has changed."""
        pools, rank = self.pools[number], self._rank[number]
        now = None if pools.is_full else pools.running
        if now == rank:
            return
        if rank is not None:
            del self._open[bisect_left(self._open, (rank, number))]
        if now is not None:
            insort(self._open, (now, number))
        self._rank[number] = now
