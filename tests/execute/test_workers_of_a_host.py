"""Several workers at one address: each has its own room, and a measurement goes to the first alone."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from sweeps import tallied

from compressbuild.execute.agenda import Agenda
from compressbuild.execute.places import Places
from compressbuild.execute.pools import Need, Pools

HOST = "ray://head"


def places(workers: int = 3, cpus: int = 1) -> Places:
    return Places(Pools(1), lambda host: [Pools(cpus) for _ in range(workers)])


def test_each_worker_takes_what_fits_in_it() -> None:
    found = places()
    given = [found.try_acquire(node, Need(host=HOST), 1.0) for node in range(4)]
    assert given == [True, True, True, False]
    assert [found.place(node) for node in range(3)] == [HOST, f"{HOST}#2", f"{HOST}#3"]
    found.release(1)
    found.next_round()
    assert found.try_acquire(3, Need(host=HOST), 1.0)
    assert found.place(3) == f"{HOST}#2"


def test_the_idlest_is_asked_first() -> None:
    found = places(workers=2, cpus=2)
    for node in range(4):
        assert found.try_acquire(node, Need(host=HOST), 1.0)
    assert [found.place(node) for node in range(4)] == [HOST, f"{HOST}#2", HOST, f"{HOST}#2"]


def test_a_wide_node_is_not_split() -> None:
    found = places(workers=2, cpus=2)
    assert found.try_acquire(0, Need(1, host=HOST), 1.0)
    assert found.try_acquire(1, Need(2, host=HOST), 1.0)
    assert found.place(1) == f"{HOST}#2"
    assert not found.try_acquire(2, Need(2, host=HOST), 1.0), "one CPU is free, of the first worker"


def test_a_measurement_is_of_the_first() -> None:
    """Its key names the machine of the first."""
    found = places()
    assert found.try_acquire(0, Need(host=HOST), 1.0)
    assert not found.try_acquire(1, Need(exclusive=True, host=HOST), 1.0)
    found.release(0)
    found.next_round()
    assert found.try_acquire(1, Need(exclusive=True, host=HOST), 1.0)
    assert found.place(1) == HOST
    assert found.try_acquire(2, Need(host=HOST), 1.0), "another worker is another machine"
    assert found.place(2) == f"{HOST}#2"


def test_what_takes_a_whole_worker_leaves_the_others() -> None:
    assert places(workers=1, cpus=2).takes_all(Need(2, host=HOST))
    assert not places(workers=2, cpus=2).takes_all(Need(2, host=HOST))
    assert places(workers=2).takes_all(Need(exclusive=True, host=HOST))


def test_this_machine_has_no_workers() -> None:
    found = places()
    assert found.try_acquire(0, Need(), 1.0)
    assert found.place(0) == ""
    assert not found.try_acquire(1, Need(), 1.0)


class Naive:
    """The oracle: each worker is asked each time, the idlest first."""

    def __init__(self, pools: list[Pools]) -> None:
        self.pools = pools
        self.granted: dict[int, int] = {}

    def try_acquire(self, node: int, need: Need, seconds: float) -> bool:
        numbers = range(1 if need.exclusive else len(self.pools))
        for number in sorted(numbers, key=lambda number: self.pools[number].running):
            if not self.pools[number].is_full and self.pools[number].try_acquire(node, need, seconds):
                self.granted[node] = number
                return True
        return False


@pytest.mark.parametrize("memory", [0, 4])
def test_an_oracle_that_asks_each(memory: int, record_property: Callable[[str, object], None]) -> None:
    """Random workers and needs: the same nodes go to the same workers, in every round."""
    with tallied(record_property) as tally:
        granted = refused = full = 0
        for seed in tally.upto(range(tally.seed, tally.seed + 200)):
            dice, now = random.Random(seed), [0.0]
            count, cpus, gpus = dice.randint(1, 4), dice.randint(1, 4), ("a", "b")[: dice.randint(0, 2)]

            def made(count: int = count, cpus: int = cpus, gpus: tuple[str, ...] = gpus, now: list[float] = now):  # type: ignore[no-untyped-def]
                return [Pools(cpus, memory, gpus, clock=lambda: now[0]) for _ in range(count)]

            found, naive, running, node = (
                Places(Pools(1), lambda host, made=made: made()),
                Naive(made()),
                list[int](),
                0,
            )  # type: ignore[misc]
            for _ in range(12):
                for ended in [each for each in running if dice.random() < 0.4]:
                    running.remove(ended)
                    found.release(ended)
                    naive.pools[naive.granted.pop(ended)].release(ended)
                now[0] += dice.random() * 3
                found.next_round()
                for pools in naive.pools:
                    pools.next_round()
                for _ in range(8):
                    need = Need(
                        dice.randint(1, 3), dice.randint(0, 3), dice.random() < 0.1, HOST, dice.choice((0, 0, 1))
                    )
                    seconds = float(dice.randint(1, 4))
                    with tally.case(f"workers {seed}, node {node}"):
                        given = found.try_acquire(node, need, seconds)
                        assert given == naive.try_acquire(node, need, seconds)
                        if given:
                            number = int(found.place(node).partition("#")[2] or 1) - 1
                            assert number == naive.granted[node]
                            assert found.devices(node) == naive.pools[number].devices(node)
                            running.append(node)
                            found.began(node)
                            naive.pools[number].began(node)
                        assert found.is_full(HOST) == all(pools.is_full for pools in naive.pools)
                        assert found.is_full(HOST, True) == naive.pools[0].is_full
                        assert found.running == len(running)
                    granted, refused, full = granted + given, refused + (not given), full + found.is_full(HOST)
                    node += 1
    assert min(granted, refused, full) > 1_000


@pytest.mark.parametrize(("nodes", "workers"), [(2_000, 1), (500, 400)])
@pytest.mark.parametrize("exclusive", [False, True])
def test_what_waits_costs_nothing(nodes: int, workers: int, exclusive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node is asked about when there may be room for it: its part does not grow with the others, nor with workers."""
    asked = [0]
    plain = Pools.try_acquire

    def counted(self: Pools, *arguments: object) -> bool:
        asked[0] += 1
        return plain(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Pools, "try_acquire", counted)
    found, inputs = places(workers), dict[int, list[int]]((node, []) for node in range(nodes))
    alone = inputs.keys() if exclusive else ()
    agenda = Agenda(inputs, [1.0] * nodes, alone=alone, places=dict.fromkeys(inputs, HOST))
    running: list[int] = []
    while agenda.left():
        while (node := agenda.due()) is not None:
            agenda.queue(node)
        agenda.next_round()
        found.next_round()
        while (node := agenda.next(found.is_full, idle=not running)) is not None:
            asked[0] += 1
            if found.try_acquire(node, Need(exclusive=exclusive, host=HOST), 1.0):
                running.append(node)
            else:
                agenda.put_off(node)
        assert running
        found.release(running[0])
        agenda.ended(running.pop(0), ok=True)
    assert asked[0] <= 2 * nodes
