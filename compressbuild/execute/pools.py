"""What the machine has for nodes: CPU slots, memory, and being alone. Pure bookkeeping; time comes from ``clock``.

In each round the scheduler asks for its ready nodes in order of priority. A need is granted if it fits. A need larger
than the machine is cut to the machine, so that its node runs, with nothing beside it in that respect. An exclusive need
(a latency measurement) is granted only when nothing runs, and nothing is granted beside it.

The first node of a round that does not fit is its *head*. Later ones are *backfilled*, as in EASY: D. Lifka, "The
ANL/IBM SP Scheduling System", 1995. The head has a reservation: the time when enough of what runs is expected to end. A
node of lower priority passes it if it is expected to end by then, or takes only what the head leaves free. So idle
slots work, and the head starts no later than it would without backfilling.

Expectations can be wrong. A node that is late is expected to be late as long again. One that passed the head counts as
ended by the reservation, so while it is late nothing more passes in its place: the head loses at most that delay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

__all__ = ["DEPTH", "Need", "Pools"]

DEPTH = 64
"""Nodes that are refused in a round before no more are asked: a round costs the same however many wait."""


@dataclass(frozen=True, slots=True)
class Need:
    """``cpus``: threads; ``memory``: bytes, 0 if unknown. ``host``: the address of its machine; empty: this one."""

    cpus: int = 1
    memory: int = 0
    exclusive: bool = False
    host: str = ""
    gpus: int = 0


@dataclass(slots=True)
class _Grant:
    """``devices``: the GPUs that it has for itself. ``began``: None while the node's process starts, which is expected
    at ``starts``. ``seconds``: how long it is expected to run after that."""

    need: Need
    seconds: float
    starts: float
    began: float | None = None
    devices: tuple[str, ...] = ()

    def ends(self, now: float) -> float:
        """When it is expected to end, in the future."""
        if self.began is None:
            return max(now, self.starts) + self.seconds
        due = self.began + self.seconds
        return due if due > now else now + (now - due)


@dataclass(frozen=True, slots=True)
class _Room:
    """``gap``: seconds until the head can start. ``cpus``, ``memory``, ``gpus``: what is free beside it then."""

    gap: float
    cpus: int
    memory: int
    gpus: int


class Pools:
    """``cpus``: nodes' threads at once (``-j``); ``memory``: bytes that nodes may hold together, 0: not limited.
    ``gpus``: devices, each for one node at a time, by what CUDA_VISIBLE_DEVICES calls them."""

    def __init__(
        self, cpus: int, memory: int = 0, gpus: tuple[str, ...] = (), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if cpus < 1 or memory < 0:
            raise ValueError(f"no such machine: {cpus} CPUs, {memory} bytes")
        self.cpus, self.memory, self.gpus = cpus, memory, gpus
        self._clock = clock
        self._granted: dict[int, _Grant] = {}
        self._passed: dict[int, set[int]] = {}  # head → what passed it and has not ended
        self._head: tuple[int, Need] | None = None
        self._room: _Room | None = None  # beside the head; None: not known since the last change
        self._refused = 0

    @property
    def running(self) -> int:
        return len(self._granted)

    @property
    def is_full(self) -> bool:
        """Whether to ask for no more in this round."""
        if self._refused >= DEPTH or self._used(self._granted)[0] >= self.cpus or self._has_exclusive():
            return True
        if self._head is None:
            return False
        room = self._beside(*self._head)
        return room.gap <= 0 and room.cpus < 1

    def takes_all(self, need: Need) -> bool:
        """Whether nothing can run beside it."""
        cut = self._cut(need)
        return cut.exclusive or 1 < self.cpus == cut.cpus or 0 < self.memory == cut.memory

    def next_round(self) -> None:
        """Ask again from the highest priority."""
        self._head, self._room, self._refused = None, None, 0

    def try_acquire(self, node: int, need: Need, seconds: float, starting: float = 0.0) -> bool:
        """Grant ``need`` if ``node`` can start now. Ask in order of priority. ``starting``: seconds that its process is
        expected to take until it runs, which then runs for ``seconds``."""
        cut = self._cut(need)
        if not self._fits(cut) or (self._head is not None and not self._may_pass(cut, starting + seconds)):
            self._head = self._head or (node, cut)
            self._refused += 1
            return False
        if self._head is not None:
            self._passed.setdefault(self._head[0], set()).add(node)
        self._passed.pop(node, None)
        taken = {device for grant in self._granted.values() for device in grant.devices}
        free = [device for device in self.gpus if device not in taken]
        self._granted[node] = _Grant(cut, seconds, self._clock() + starting, devices=tuple(free[: cut.gpus]))
        self._room = None
        return True

    def began(self, node: int) -> None:
        """Its process runs. The seconds that are expected of it count from here."""
        self._granted[node].began = self._clock()

    def place(self, node: int) -> str:
        """The address of its machine; empty: this one."""
        return self._granted[node].need.host

    def devices(self, node: int) -> tuple[str, ...]:
        """The GPUs that a node has for itself, until it is released."""
        return self._granted[node].devices

    def release(self, node: int) -> None:
        """Give back what :meth:`try_acquire` granted. KeyError if it granted nothing."""
        del self._granted[node]
        for passed in self._passed.values():
            passed.discard(node)
        self._room = None

    def _cut(self, need: Need) -> Need:
        memory = min(need.memory, self.memory) if self.memory else 0
        gpus = min(need.gpus, len(self.gpus))
        return replace(need, cpus=max(1, min(need.cpus, self.cpus)), memory=memory, gpus=gpus)

    def _used(self, nodes: Iterable[int]) -> tuple[int, int, int]:
        needs = [self._granted[node].need for node in nodes]
        return sum(need.cpus for need in needs), sum(need.memory for need in needs), sum(need.gpus for need in needs)

    def _has_exclusive(self) -> bool:
        return any(grant.need.exclusive for grant in self._granted.values())

    def _fits(self, need: Need, among: Iterable[int] | None = None) -> bool:
        """Whether it can run beside ``among``, by default all that runs."""
        nodes = list(self._granted if among is None else among)
        if not nodes:
            return True
        if need.exclusive or any(self._granted[node].need.exclusive for node in nodes):
            return False
        cpus, memory, gpus = self._used(nodes)
        enough = cpus + need.cpus <= self.cpus and memory + need.memory <= (self.memory or memory)
        return enough and gpus + need.gpus <= len(self.gpus)

    def _may_pass(self, need: Need, seconds: float) -> bool:
        assert self._head is not None
        room = self._beside(*self._head)
        fits = need.cpus <= room.cpus and need.memory <= room.memory and need.gpus <= room.gpus
        return 0 < room.gap >= seconds or fits

    def _beside(self, head: int, need: Need) -> _Room:
        """The head's reservation: what passed it is not waited for, or one that is late would let in the next."""
        if self._room is None:
            now, passed = self._clock(), self._passed.get(head, set())
            ends = {node: grant.ends(now) for node, grant in self._granted.items()}
            left = sorted(ends.keys() - passed, key=ends.__getitem__)  # what the head waits for, first ends first
            start = now
            while not self._fits(need, left):
                start = ends[left.pop(0)]
            left += [node for node in passed if ends[node] > start]
            cpus, memory, gpus = self._used(left)
            free = 0 if need.exclusive else self.cpus - need.cpus - cpus
            spare = len(self.gpus) - need.gpus - gpus
            self._room = _Room(start - now, free, self.memory - need.memory - memory, spare)
        return self._room
