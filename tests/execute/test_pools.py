"""Resources: never more than there is, nobody starves, and idle slots are used where that delays nobody."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressbuild.execute.pools import Need, Pools

GIB = 1 << 30
ALONE = Need(exclusive=True)


class Machine(Pools):
    """Pools with a clock that the test sets. Nodes are named."""

    def __init__(self, cpus: int, memory: int = 0) -> None:
        super().__init__(cpus, memory, clock=lambda: self.now)
        self.now = 0.0

    def asks(self, *nodes: tuple[int, Need, float]) -> list[int]:
        """One round: those that start, and do so at once."""
        self.next_round()
        started = [node for node, need, seconds in nodes if not self.is_full and self.try_acquire(node, need, seconds)]
        for node in started:
            self.began(node)
        return started


def test_cpus_are_shared_out_and_given_back() -> None:
    pools = Machine(4)
    assert pools.asks((0, Need(3), 9), (1, Need(2), 9)) == [0]
    assert pools.asks((2, Need(1), 9)) == [2]
    assert pools.is_full
    pools.release(0)
    assert not pools.is_full
    assert pools.asks((1, Need(2), 9)) == [1]


def test_memory_counts_where_it_is_known() -> None:
    pools = Machine(8, 4 * GIB)
    assert pools.asks((0, Need(memory=3 * GIB), 9), (1, Need(memory=2 * GIB), 9)) == [0]
    assert pools.asks((2, Need(), 9), (3, Need(memory=GIB), 9)) == [2, 3]


def test_a_need_larger_than_the_machine_runs_alone() -> None:
    pools = Machine(2, GIB)
    assert pools.takes_all(Need(16))
    assert pools.takes_all(Need(memory=64 * GIB))
    assert not pools.takes_all(Need(1, GIB // 2))
    assert pools.asks((0, Need(16, 64 * GIB), 9), (1, Need(1), 1)) == [0]
    pools.release(0)
    assert pools.asks((1, Need(1), 1)) == [1]


def test_one_slot_is_not_a_whole_machine() -> None:
    """Else every node would run alone on it, and none had priority."""
    assert not Pools(1).takes_all(Need(4))


def test_exclusive_means_alone() -> None:
    pools = Machine(4)
    assert pools.takes_all(ALONE)
    assert pools.asks((0, Need(), 9), (1, ALONE, 1)) == [0]
    pools.release(0)
    assert pools.asks((1, ALONE, 1), (2, Need(), 0.1), (3, ALONE, 0.1)) == [1]
    assert pools.is_full


# -- backfilling ------------------------------------------------------------------------------------------------------


def test_what_ends_before_the_head_can_start_passes_it() -> None:
    pools = Machine(2)
    assert pools.asks((0, Need(), 60), (1, Need(2), 30), (2, Need(), 61), (3, Need(), 60), (4, Need(), 1)) == [0, 3]
    pools.now = 10.0
    pools.release(3)
    assert pools.asks((1, Need(2), 30), (2, Need(), 51), (4, Need(), 50)) == [4]


def test_what_leaves_the_head_its_slots_passes_it_however_long_it_takes() -> None:
    pools = Machine(4)
    assert pools.asks((0, Need(2), 60), (1, Need(3), 30), (2, Need(), 999), (3, Need(), 999)) == [0, 2]
    pools.release(0)
    assert pools.asks((1, Need(3), 30)) == [1], "beside the long one"


def test_memory_is_reserved_like_slots() -> None:
    pools = Machine(8, 8)
    assert pools.asks((0, Need(memory=6), 60), (1, Need(memory=6), 30), (2, Need(memory=2), 61)) == [0, 2], "6 + 2"
    pools.release(2)
    assert pools.asks((1, Need(memory=7), 30), (2, Need(memory=2), 61), (3, Need(memory=1), 61)) == [3]


def test_nothing_long_passes_what_will_run_alone() -> None:
    pools = Machine(4)
    assert pools.asks((0, Need(), 60), (1, ALONE, 1), (2, Need(), 61), (3, Need(), 59)) == [0, 3]


def test_a_node_counts_from_when_its_process_runs() -> None:
    pools = Machine(2)
    assert pools.try_acquire(0, Need(), 10)
    pools.now = 100.0
    assert pools.asks((1, Need(2), 5), (2, Need(), 10)) == [2], "it still takes ten seconds"
    pools.began(0)
    pools.release(2)
    pools.now = 105.0
    assert pools.asks((1, Need(2), 5), (2, Need(), 6), (3, Need(), 5)) == [3]


def test_a_late_node_is_expected_to_be_late_as_long_again() -> None:
    pools = Machine(2)
    assert pools.asks((0, Need(), 1)) == [0]
    pools.now = 21.0
    assert pools.asks((1, Need(2), 5), (2, Need(), 21), (3, Need(), 20)) == [3]


def test_what_passed_and_is_late_holds_the_door_for_nobody() -> None:
    pools = Machine(2)
    assert pools.asks((0, Need(), 60), (1, Need(2), 30), (2, Need(), 1)) == [0, 2]
    pools.now = 60.0
    pools.release(0)
    pools.now = 90.0  # node 2 was to end 89 seconds ago
    assert pools.asks((1, Need(2), 30), (3, Need(), 0.1)) == []
    assert pools.is_full, "no more are asked"
    assert not pools.try_acquire(4, Need(), 0.0), "what is expected to take no time included"
    pools.release(2)
    assert pools.asks((1, Need(2), 30), (3, Need(), 0.1)) == [1]


def test_what_has_priority_over_the_head_still_goes_first() -> None:
    pools = Machine(2)
    assert pools.asks((0, Need(), 60), (1, ALONE, 1)) == [0]
    assert pools.asks((2, Need(), 999), (1, ALONE, 1)) == [2]


def test_a_head_that_is_withdrawn_blocks_nobody() -> None:
    pools = Machine(2)
    assert pools.asks((0, Need(), 60), (1, ALONE, 1), (2, Need(), 61)) == [0]
    assert pools.asks((2, Need(), 61)) == [2]


def test_a_round_ends_after_many_refusals() -> None:
    """However many nodes wait behind a head, a round asks no more than some."""
    pools = Machine(3)
    assert pools.asks((0, Need(), 60), (1, Need(3), 1)) == [0]
    pools.next_round()
    assert not pools.try_acquire(1, Need(3), 1)
    asked = 0
    while not pools.is_full:
        asked += 1
        assert not pools.try_acquire(asked + 1, Need(), 99)
    assert 30 < asked < 300


# -- guarantees -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(200))
def test_the_head_loses_no_more_than_what_passed_it_is_late(seed: int) -> None:
    """Others of lower priority never run out, and most take longer than expected. What ran before is on time."""
    dice = random.Random(seed)
    pools = Machine(dice.randint(2, 6))
    ends = dict[int, float]()
    first = [(node, Need(dice.randint(1, 2)), dice.uniform(1, 30)) for node in range(1, dice.randint(2, 7))]
    started = pools.asks(*first)
    ends |= {node: seconds for node, _, seconds in first if node in started}
    head = (0, dice.choice((ALONE, Need(pools.cpus))), 5.0)
    promised, latest, passed = max(ends.values()), 0.0, 0
    for number in range(100, 5_000):
        liars = [(number + k, Need(dice.randint(1, 3)), dice.uniform(0.1, 5)) for k in range(0, 9_000, 5_000)]
        started = pools.asks(head, *liars)
        if 0 in started:
            break
        for node, _, seconds in liars:
            if node in started:
                late = dice.choice((-0.5, 0.0, 1.0, 20.0)) * seconds
                ends[node] = pools.now + seconds + late
                latest, passed = max(latest, late), passed + 1
        node = min(ends, key=ends.__getitem__)
        pools.now = ends.pop(node)
        pools.release(node)
    else:
        pytest.fail("it never ran")
    assert pools.now <= promised + latest + 1e-9, f"{passed} passed it"


@pytest.mark.parametrize("seed", range(100))
def test_the_head_loses_no_more_than_what_it_waits_for_was_late(seed: int) -> None:
    """What ran before takes longer than expected; others of lower priority are on time."""
    dice = random.Random(seed)
    pools = Machine(2)
    expected = dice.uniform(1, 10)
    late = expected * dice.uniform(0.1, 50)
    ends = {1: expected + late}
    assert pools.asks((1, Need(), expected)) == [1]
    for number in range(100, 5_000):
        seconds = dice.uniform(0.1, 100)
        started = pools.asks((0, Need(2), 1.0), (number, Need(), seconds))
        if 0 in started:
            break
        if started:
            ends[number] = pools.now + seconds
        pools.now = min(min(ends.values()), pools.now + 1.0)
        for node in [each for each, end in ends.items() if end <= pools.now]:
            del ends[node]
            pools.release(node)
    else:
        pytest.fail("it never ran")
    assert pools.now <= expected + 2 * late + 1.0


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="no such machine"):
        Pools(0)
    with pytest.raises(KeyError):
        Pools(1).release(0)


needs = st.builds(Need, st.integers(0, 9), st.integers(0, 9), st.booleans())


@given(st.integers(1, 6), st.integers(0, 6), st.lists(needs, min_size=1, max_size=25), st.data())
def test_any_queue_is_worked_off_within_the_machine(
    cpus: int, memory: int, queue: list[Need], data: st.DataObject
) -> None:
    pools = Machine(cpus, memory)
    running: dict[int, Need] = {}
    waiting = dict(enumerate(queue))
    while waiting or running:
        for node in pools.asks(*((node, need, data.draw(st.floats(0, 9))) for node, need in waiting.items())):
            running[node] = waiting.pop(node)
        assert running, "the machine idles while something waits"
        if any(need.exclusive for need in running.values()):
            assert len(running) == 1
        if len(running) > 1:
            assert sum(max(1, min(need.cpus, cpus)) for need in running.values()) <= cpus
            assert not memory or sum(min(need.memory, memory) for need in running.values()) <= memory
        assert pools.running == len(running)
        pools.now += data.draw(st.floats(0, 9))
        done = data.draw(st.sampled_from(sorted(running)))
        del running[done]
        pools.release(done)
