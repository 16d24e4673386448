"""Builds of random graphs on a simulated machine, and the least time that any schedule of them takes."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from compressbuild.execute.agenda import Agenda
from compressbuild.execute.pools import Need, Pools


@dataclass(frozen=True)
class Work:
    """A graph to build. ``inputs``: in topological order; ``seconds``: how long each node takes."""

    cpus: int
    memory: int
    inputs: Mapping[int, Sequence[int]]
    needs: Sequence[Need]
    seconds: Sequence[float]

    @cached_property
    def alone(self) -> frozenset[int]:
        pools = Pools(self.cpus, self.memory)
        return frozenset(node for node in self.inputs if pools.takes_all(self.needs[node]))


def random_work(seed: int) -> Work:
    """Layers, loose graphs, or the short chains of many targets. Some nodes take several slots, some much memory, and
    some leaves run alone. Times are spread over about two orders of magnitude."""
    dice = random.Random(seed)
    cpus, count = dice.choice((1, 2, 2, 2, 4, 4, 8, 16)), dice.randint(20, 200)
    inputs = _edges(dice, count)
    used = {source for sources in inputs.values() for source in sources}
    memory = dice.choice((0, 0, 16))
    wide, measured = dice.choice((0.0, 0.1, 0.3)), dice.choice((0.0, 0.1, 0.3))
    widths = [width for width in (2, 4, 8, 16) if width <= max(2, cpus)]
    needs = [
        Need(
            dice.choice(widths) if dice.random() < wide else 1,
            dice.choice((0, 1, 1, 2, 4, 8)) if memory else 0,
            exclusive=dice.random() < measured and (node not in used or dice.random() < 0.1),
        )
        for node in inputs
    ]
    return Work(cpus, memory, inputs, needs, [dice.lognormvariate(1, 1.2) for _ in inputs])


def _edges(dice: random.Random, count: int) -> dict[int, list[int]]:
    shape, width = dice.choice(("layers", "loose", "chains")), dice.randint(2, 20)
    inputs: dict[int, list[int]] = {}
    for node in range(count):
        if shape == "layers":
            before = list(range((node // width - 1) * width, node // width * width)) if node >= width else []
            inputs[node] = dice.sample(before, min(len(before), dice.randint(1, 3)))
        elif shape == "loose":
            inputs[node] = dice.sample(range(node), min(node, dice.choice((0, 1, 1, 2, 3))))
        else:
            inputs[node] = [] if node < 2 else [dice.randrange(max(0, node - 8), node)]
    return inputs


def longest_paths(inputs: Mapping[int, Sequence[int]], cost: Sequence[float]) -> list[float]:
    """From each node to a leaf, with its own cost."""
    length, after = [0.0] * len(cost), [0.0] * len(cost)
    for node in reversed(list(inputs)):
        length[node] = after[node] + cost[node]
        for source in inputs[node]:
            after[source] = max(after[source], length[node])
    return length


def bound(work: Work) -> float:
    """No schedule takes less. What runs alone takes its time while nothing else runs. The rest takes its longest path,
    and the work of all slots, and of all the memory. So does any part of it, after what leads there and before what
    follows: the work of the nodes that start no earlier than one and are followed by no less than another."""
    alone = work.alone
    cost = [0.0 if node in alone else seconds for node, seconds in enumerate(work.seconds)]
    tail = [length - own for length, own in zip(longest_paths(work.inputs, cost), cost, strict=True)]
    head = [0.0] * len(cost)
    for node, sources in work.inputs.items():
        head[node] = max((head[source] + cost[source] for source in sources), default=0.0)
    best = max(h + c + t for h, c, t in zip(head, cost, tail, strict=True))
    by_tail = sorted((node for node in work.inputs if cost[node]), key=lambda node: -tail[node])
    for start in set(head):
        slots = memory = 0.0
        for node in by_tail:
            if head[node] >= start:
                slots += cost[node] * min(work.needs[node].cpus, work.cpus) / work.cpus
                memory += cost[node] * work.needs[node].memory / (work.memory or 1)
                best = max(best, start + max(slots, memory) + tail[node])
    return best + sum(work.seconds[node] for node in alone)


class Policy(Protocol):
    """What is asked of pools in a simulation, with the time."""

    is_full: bool

    def next_round(self) -> None: ...
    def start(self, node: int, need: Need, seconds: float) -> bool: ...
    def release(self, node: int) -> None: ...


class Backfill(Pools):
    """The pools of the engine."""

    def start(self, node: int, need: Need, seconds: float) -> bool:
        if not self.try_acquire(node, need, seconds):
            return False
        self.began(node)
        return True


class Patient:
    """What the engine did before: anything that fits overtakes, until a need was overtaken eight times. After that,
    nothing of lower priority starts before it."""

    def __init__(self, cpus: int, memory: int) -> None:
        self.cpus, self.memory = cpus, memory
        self._granted: dict[int, Need] = {}
        self._refused: set[Need] = set()
        self._overtaken: dict[Need, int] = {}

    @property
    def is_full(self) -> bool:
        return self._used() >= self.cpus or any(need.exclusive for need in self._granted.values())

    def next_round(self) -> None: ...

    def start(self, node: int, need: Need, seconds: float) -> bool:
        others = [self._overtaken.get(other, 0) for other in self._refused if other != need]
        if not self._fits(need) or (self._granted and max(others, default=0) >= 8):
            self._refused.add(need)
            return False
        self._granted[node] = need
        self._refused.discard(need)
        self._overtaken.pop(need, None)
        for other in self._refused:
            self._overtaken[other] = self._overtaken.get(other, 0) + 1
        return True

    def release(self, node: int) -> None:
        del self._granted[node]
        self._refused.clear()

    def _used(self) -> int:
        return sum(need.cpus for need in self._granted.values())

    def _fits(self, need: Need) -> bool:
        if not self._granted:
            return True
        if need.exclusive or any(other.exclusive for other in self._granted.values()):
            return False
        memory = sum(other.memory for other in self._granted.values()) + need.memory
        return self._used() + need.cpus <= self.cpus and (not self.memory or memory <= self.memory)


@dataclass(slots=True)
class Run:
    """``began``, ``ended``: by node."""

    began: dict[int, float]
    ended: dict[int, float]

    @property
    def makespan(self) -> float:
        return max(self.ended.values())


def simulate(work: Work, actual: Sequence[float] | None = None, weights: Sequence[float] | None = None) -> Run:
    """By the engine's own agenda and pools, as the scheduler uses them. ``actual``: what nodes really take;
    ``weights``: of their priorities, for another order."""
    now = [0.0]
    pools = Backfill(work.cpus, work.memory, clock=lambda: now[0])
    cost = [0.0 if node in work.alone else seconds for node, seconds in enumerate(work.seconds)]
    priority = longest_paths(work.inputs, cost)
    if weights is not None:
        priority = [length * weight for length, weight in zip(priority, weights, strict=True)]
    agenda = Agenda(work.inputs, priority, alone=work.alone)
    return _run(work, pools, lambda: agenda.next(idle=pools.running == 0), agenda, actual or work.seconds, now)


def simulate_before(work: Work) -> Run:
    """By the policy that backfilling replaced."""
    agenda = Agenda(work.inputs, longest_paths(work.inputs, work.seconds))
    return _run(work, Patient(work.cpus, work.memory), agenda.next, agenda, work.seconds, [0.0])


def _run(
    work: Work,
    pools: Policy,
    ready: Callable[[], int | None],
    agenda: Agenda,
    actual: Sequence[float],
    now: list[float],
) -> Run:
    run, running = Run({}, {}), list[tuple[float, int]]()
    while True:
        while (node := agenda.due()) is not None:
            agenda.queue(node)
        agenda.next_round()
        pools.next_round()
        while not pools.is_full and (node := ready()) is not None:
            if not pools.start(node, work.needs[node], work.seconds[node]):
                agenda.put_off(node)
                continue
            run.began[node] = now[0]
            heapq.heappush(running, (now[0] + actual[node], node))
        if not running:
            assert not agenda.left(), "the build does not come to an end"
            return run
        now[0], node = heapq.heappop(running)
        run.ended[node] = now[0]
        pools.release(node)
        agenda.ended(node, ok=True)
