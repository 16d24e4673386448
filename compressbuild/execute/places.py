"""The pools of several machines, asked as one: what a node needs, it needs of its own machine.

An address may stand for several workers. A node goes to the idlest that has room; a measurement to the first, whose
machine its key names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..machines.machines import worker
from .pools import Need, Pools

__all__ = ["Places"]


class Places:
    """``here``: of this machine; ``make``: those of the workers at an address, made when it is first needed."""

    def __init__(self, here: Pools, make: Callable[[str], Sequence[Pools]]) -> None:
        self._make = make
        self._pools: dict[str, tuple[Pools, ...]] = {"": (here,)}
        self._granted: dict[int, tuple[Pools, str]] = {}

    @property
    def _all(self) -> list[Pools]:
        return [pools for several in self._pools.values() for pools in several]

    @property
    def running(self) -> int:
        return sum(pools.running for pools in self._all)

    @property
    def is_full(self) -> bool:
        """Whether no machine can take more in this round."""
        return all(pools.is_full for pools in self._all)

    def takes_all(self, need: Need) -> bool:
        """Whether nothing can run beside it at its address."""
        several = self._of(need)
        return several[0].takes_all(need) if len(several) == 1 else need.exclusive

    def next_round(self) -> None:
        for pools in self._all:
            pools.next_round()

    def try_acquire(self, node: int, need: Need, seconds: float, starting: float = 0.0) -> bool:
        several = self._of(need)
        numbers = sorted(range(1 if need.exclusive else len(several)), key=lambda number: several[number].running)
        for number in numbers:
            pools = several[number]
            if not pools.is_full and pools.try_acquire(node, need, seconds, starting):
                self._granted[node] = pools, worker(need.host, number)
                return True
        return False

    def began(self, node: int) -> None:
        self._granted[node][0].began(node)

    def place(self, node: int) -> str:
        """The address of the worker that has it; empty: this machine."""
        return self._granted[node][1]

    def devices(self, node: int) -> tuple[str, ...]:
        return self._granted[node][0].devices(node)

    def release(self, node: int) -> None:
        self._granted.pop(node)[0].release(node)

    def _of(self, need: Need) -> tuple[Pools, ...]:
        if need.host not in self._pools:
            self._pools[need.host] = tuple(self._make(need.host))
        return self._pools[need.host]
