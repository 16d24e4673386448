"""The pools of several machines, asked as one: what a node needs, it needs of its own machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .pools import Need, Pools

__all__ = ["Places"]


class Places:
    """``here``: of this machine; ``make``: the pools of another, by its address, made when it is first needed."""

    def __init__(self, here: Pools, make: Callable[[str], Pools]) -> None:
        self._make = make
        self._pools: dict[str, Pools] = {"": here}
        self._granted: dict[int, Pools] = {}

    @property
    def pools(self) -> Mapping[str, Pools]:
        """By address, as far as they were needed."""
        return self._pools

    @property
    def running(self) -> int:
        return sum(pools.running for pools in self._pools.values())

    @property
    def is_full(self) -> bool:
        """Whether no machine can take more in this round."""
        return all(pools.is_full for pools in self._pools.values())

    def takes_all(self, need: Need) -> bool:
        return self._of(need).takes_all(need)

    def next_round(self) -> None:
        for pools in self._pools.values():
            pools.next_round()

    def try_acquire(self, node: int, need: Need, seconds: float, starting: float = 0.0) -> bool:
        pools = self._of(need)
        if pools.is_full or not pools.try_acquire(node, need, seconds, starting):
            return False
        self._granted[node] = pools
        return True

    def began(self, node: int) -> None:
        self._granted[node].began(node)

    def devices(self, node: int) -> tuple[str, ...]:
        return self._granted[node].devices(node)

    def release(self, node: int) -> None:
        self._granted.pop(node).release(node)

    def _of(self, need: Need) -> Pools:
        if need.host not in self._pools:
            self._pools[need.host] = self._make(need.host)
        return self._pools[need.host]
