"""The agenda against an oracle: random graphs, run to their end without a process."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from sweeps import Tally, tallied, tries

from compressbuild.execute.agenda import Agenda
from compressbuild.execute.places import Places
from compressbuild.execute.pools import Need, Pools

HOST = "ray://head"
FATES = ("cached", "evicted", "built", "built", "failed")


class World:
    """A random build. It does what the scheduler does, decides by a throw of the dice how nodes end, and checks each
    step of the agenda against what it knows itself."""

    def __init__(self, seed: int) -> None:
        dice = self.dice = random.Random(seed)
        count = dice.randint(1, 7)
        self.inputs = {n: dice.sample(range(n), dice.randint(0, min(n, 3))) for n in range(count)}
        self.fate = [dice.choice(FATES) for _ in range(count)]
        self.again = [dice.random() < 0.8 for _ in range(count)]  # whether an evicted result can be made again
        hosts = ("", HOST) if dice.random() < 0.5 else ("",)
        self.needs = [
            Need(dice.randint(1, 2), exclusive=dice.random() < 0.2, host=dice.choice(hosts)) for _ in range(count)
        ]
        self.elsewhere = [dice.choice((0, 0, 0, 1, 2)) for _ in range(count)]  # rounds that another process has it
        self.keep_going = dice.random() < 0.5
        self.seconds = [dice.randint(1, 4) for _ in range(count)]
        self.priority = self.longest_paths(self.seconds)
        self.cpus = dice.randint(1, 3)
        self.now = 0.0
        self.workers = dice.randint(1, 3)  # at the other address
        self.pools = Places(self.machine(), lambda host: [self.machine() for _ in range(self.workers)])
        self.alone = {node for node in range(count) if self.needs[node].exclusive}
        places = {node: need.host for node, need in enumerate(self.needs) if need.host}
        self.agenda = Agenda(self.inputs, self.priority, alone=self.alone, places=places, keep_going=self.keep_going)
        self.status: dict[int, str] = {}
        self.absent: set[int] = set()  # ended with a result, but without its bytes
        self.ready: set[int] = set()
        self.starved: dict[int, set[int]] = {}
        self.decided: list[int] = []
        self.started: list[int] = []
        self.running: list[int] = []
        self.stopped = False

    def machine(self) -> Pools:
        return Pools(self.cpus, clock=lambda: self.now)

    def has_room(self, node: int) -> bool:
        """Whether its machine can take more in this round, as far as one knows without asking."""
        return not self.pools.is_full(self.needs[node].host, node in self.alone)

    def longest_paths(self, cost: list[int]) -> list[float]:
        def length(node: int) -> int:
            return cost[node] + max((length(n) for n, sources in self.inputs.items() if node in sources), default=0)

        return [float(length(node)) for node in self.inputs]

    def has_result(self, node: int) -> bool:
        return self.status.get(node) in ("cached", "built")

    # -- the scheduler's part ----------------------------------------------------------------------------------------

    def run(self) -> None:
        for _ in range(100):
            while (node := self.agenda.due()) is not None:
                self.decide(node)
            assert all(node in self.decided for node in self.inputs if self.may_be_decided(node))
            self.agenda.next_round()
            self.pools.next_round()
            put_off: set[int] = set()
            while True:
                idle = {node for node in self.ready - put_off if self.has_room(node)}
                node = self.agenda.next(self.pools.is_full, idle=not self.running)
                if node is None:
                    assert self.stopped or not any(map(self.may_run, idle)), "a node could start, and none was given"
                    break
                assert node in idle
                allowed = {n for n in idle if self.may_run(n)}
                first = allowed & self.alone if not self.running and allowed & self.alone else allowed
                assert node in first
                assert self.priority[node] == max(self.priority[n] for n in first)
                if not self.start(node):
                    put_off.add(node)
            if self.agenda.is_done and not self.running:
                left = self.agenda.left()
                assert left == [node for node in self.inputs if node not in self.status]
                self.status.update(dict.fromkeys(left, "skipped"))
                return
            if self.running:
                self.finish(self.dice.choice(self.running))
        raise AssertionError("the build does not come to an end")

    def may_be_decided(self, node: int) -> bool:
        return all(source in self.status for source in self.inputs[node])

    def may_run(self, node: int) -> bool:
        return all(map(self.has_result, self.inputs[node]))

    def decide(self, node: int) -> None:
        """All inputs have ended: skip the node, know its result, or queue it."""
        assert self.may_be_decided(node), "an input has not ended"
        if node in self.starved:
            assert not self.starved.pop(node), "an input is still to be made again"
        elif node in self.ready:
            assert not self.may_run(node), "a ready node is due only if it lost an input"
            self.ready.remove(node)
        else:
            assert node not in self.decided, "decided twice"
        self.decided.append(node)
        assert self.agenda.lacks(node) == (not self.may_run(node))
        if not self.may_run(node):
            self.end(node, "skipped")
        elif self.fate[node] in ("cached", "evicted") and node not in self.status:
            if self.fate[node] == "evicted":
                self.absent.add(node)
            self.end(node, "cached")
        else:
            self.queue(node)

    def queue(self, node: int) -> None:
        self.ready.add(node)
        self.agenda.queue(node)

    def start(self, node: int) -> bool:
        """False: not in this round."""
        assert not self.stopped, "started after the failure that stopped the build"
        assert self.may_run(node)
        assert node not in self.running
        gone = self.absent.intersection(self.inputs[node])
        if gone:
            self.ready.remove(node)
            self.starved[node] = set(gone)
            for source in gone - self.ready - set(self.running) - self.starved.keys():
                self.queue(source)
            self.agenda.starve(node, gone)
        elif not self.pools.try_acquire(node, self.needs[node], self.seconds[node]):
            self.agenda.put_off(node)
            return False
        elif self.elsewhere[node]:
            self.elsewhere[node] -= 1
            self.pools.release(node)
            self.agenda.hold(node)
            assert self.agenda.is_held
            return False
        else:
            self.ready.remove(node)
            self.started.append(node)
            self.running.append(node)
            self.pools.began(node)
            place = self.pools.place(node)
            assert place.partition("#")[0] == self.needs[node].host
            together = [self.needs[n] for n in self.running if self.pools.place(n) == place]
            assert len(together) == 1 or not any(need.exclusive for need in together)
            assert len(together) == 1 or sum(need.cpus for need in together) <= self.cpus
        return True

    def finish(self, node: int) -> None:
        self.running.remove(node)
        self.now += self.dice.random() * 4  # longer or shorter than expected
        self.pools.release(node)
        failed = self.fate[node] == "failed" or (node in self.absent and not self.again[node])
        self.stopped = self.stopped or (failed and not self.keep_going)
        self.absent.discard(node)
        self.end(node, "failed" if failed else "built")

    def end(self, node: int, status: str) -> None:
        self.status[node] = status
        for sources in self.starved.values():
            sources.discard(node)
        self.agenda.ended(node, ok=status in ("cached", "built"))

    # -- the oracle --------------------------------------------------------------------------------------------------

    def expected(self) -> dict[int, str]:
        """How each node ends if nothing stops the build and what was evicted can be made again."""
        ends: dict[int, str] = {}
        for node, sources in self.inputs.items():
            lost = any(ends[source] in ("failed", "skipped") for source in sources)
            ends[node] = "skipped" if lost else self.fate[node]
        return ends

    def uncertain(self) -> set[int]:
        """Evicted nodes that cannot be made again, and all that stands on them: the order of events decides."""
        found: set[int] = set()
        for node, sources in self.inputs.items():
            if (self.fate[node] == "evicted" and not self.again[node]) or found.intersection(sources):
                found.add(node)
        return found

    def check(self) -> None:
        expected, uncertain = self.expected(), self.uncertain()
        for node, status in self.status.items():
            runs = self.started.count(node)
            assert runs <= 1, "no node runs twice"
            assert runs == 0 or status in ("built", "failed", "skipped")
            if node in uncertain:
                continue
            allowed = {"cached", "built"} if expected[node] == "evicted" else {expected[node]}
            assert status in allowed or (self.stopped and status == "skipped"), f"node {node} ended {status}"
        if self.stopped:
            assert not self.keep_going
            assert "failed" in self.status.values()


def sweep(tally: Tally, count: int) -> dict[str, int]:
    """How often each thing happened, so that a test can say that it did."""
    seen: dict[str, int] = {}
    for seed in tally.upto(range(tally.seed, tally.seed + count)):
        world = World(seed)
        with tally.case(f"graph {seed}"):
            world.run()
            world.check()
        for event in (*world.status.values(), *(["stopped"] if world.stopped else [])):
            seen[event] = seen.get(event, 0) + 1
        seen["made again"] = seen.get("made again", 0) + sum(
            world.fate[n] == "evicted" and n in world.started for n in world.inputs
        )
    return seen


def test_random_graphs(record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        seen = sweep(tally, 5_000)
    assert min(seen[event] for event in ("cached", "built", "failed", "skipped", "stopped", "made again")) > 300


@pytest.mark.slow
def test_many_random_graphs(record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        sweep(tally, tries(300_000))


def test_the_longest_path_goes_first() -> None:
    agenda = Agenda({0: [], 1: [], 2: [1], 3: []}, [1.0, 5.0, 4.0, 2.0])
    while (node := agenda.due()) is not None:
        agenda.queue(node)
    assert [agenda.next(), agenda.next(), agenda.next(), agenda.next()] == [1, 3, 0, None]
    agenda.ended(1, ok=True)
    assert agenda.due() == 2


def test_what_waits_for_bytes_of_a_node_that_fails_is_skipped() -> None:
    """Two consumers of an evicted input: one asks for it, the other is ready meanwhile, and the input fails."""
    agenda = Agenda({0: [], 1: [0], 2: [0]}, [3.0, 2.0, 1.0], keep_going=True)
    assert agenda.due() == 0
    agenda.ended(0, ok=True)
    while (node := agenda.due()) is not None:
        agenda.queue(node)
    assert agenda.next() == 1
    agenda.queue(0)
    agenda.starve(1, [0])
    assert agenda.next() == 0
    agenda.ended(0, ok=False)
    assert agenda.due() == 1
    assert agenda.lacks(1)
    assert agenda.next() is None
    assert agenda.due() == 2
    assert agenda.lacks(2)
