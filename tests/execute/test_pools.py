"""Resources: never more than there is, nobody starves, an idle core is used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressbuild.execute.pools import Need, Pools

GIB = 1 << 30


def test_cpus_are_shared_out_and_given_back() -> None:
    pools = Pools(4)
    assert pools.try_acquire(Need(3))
    assert not pools.try_acquire(Need(2))
    assert pools.try_acquire(Need(1))
    assert pools.is_full
    pools.release(Need(3))
    assert not pools.is_full
    assert pools.try_acquire(Need(2))


def test_memory_counts_where_it_is_known() -> None:
    pools = Pools(8, 4 * GIB)
    assert pools.try_acquire(Need(memory=3 * GIB))
    assert not pools.try_acquire(Need(memory=2 * GIB))
    assert pools.try_acquire(Need())
    assert pools.try_acquire(Need(memory=GIB))


def test_a_need_larger_than_the_machine_runs_alone() -> None:
    pools = Pools(2, GIB)
    assert pools.try_acquire(Need(16, 64 * GIB))
    assert not pools.try_acquire(Need(1))
    pools.release(Need(16, 64 * GIB))
    assert pools.try_acquire(Need(1))


def test_exclusive_means_alone() -> None:
    pools = Pools(4)
    assert pools.try_acquire(Need())
    assert not pools.try_acquire(Need(exclusive=True))
    pools.release(Need())
    assert pools.try_acquire(Need(exclusive=True))
    assert pools.is_full
    assert not pools.try_acquire(Need())
    assert not pools.try_acquire(Need(exclusive=True))


def test_an_exclusive_need_does_not_starve() -> None:
    pools = Pools(2, patience=3)
    exclusive = Need(exclusive=True)
    assert pools.try_acquire(Need())
    granted = 0
    for _ in range(100):  # a node ends, and there is always another of lower priority
        if pools.try_acquire(exclusive):
            break
        granted += pools.try_acquire(Need())
        pools.release(Need())
    else:
        pytest.fail("it never ran")
    assert granted == 3


def test_what_has_priority_over_a_starving_need_still_goes_first() -> None:
    pools = Pools(2, patience=0)
    assert pools.try_acquire(Need())
    assert pools.try_acquire(Need())
    pools.release(Need())
    assert pools.try_acquire(Need()), "asked before the exclusive one: of higher priority"
    assert not pools.try_acquire(Need(exclusive=True))
    pools.release(Need())
    assert not pools.try_acquire(Need(exclusive=True))
    assert not pools.try_acquire(Need()), "of lower priority"


def test_a_starving_need_that_is_withdrawn_blocks_nobody() -> None:
    pools = Pools(2, patience=0)
    assert pools.try_acquire(Need())
    assert not pools.try_acquire(Need(exclusive=True))
    assert not pools.try_acquire(Need())
    pools.release(Need())
    assert pools.try_acquire(Need())
    assert pools.try_acquire(Need())


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="no such machine"):
        Pools(0)
    with pytest.raises(ValueError):
        Pools(1).release(Need())


needs = st.builds(Need, st.integers(0, 9), st.integers(0, 9), st.booleans())


@given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 3), st.lists(needs, min_size=1, max_size=25), st.data())
def test_any_queue_is_worked_off_within_the_machine(
    cpus: int, memory: int, patience: int, queue: list[Need], data: st.DataObject
) -> None:
    pools = Pools(cpus, memory, patience=patience)
    running: list[Need] = []
    waiting = list(queue)
    while waiting or running:
        for need in list(waiting):
            if pools.try_acquire(need):
                waiting.remove(need)
                running.append(need)
        assert running, "the machine idles while something waits"
        if any(need.exclusive for need in running):
            assert len(running) == 1
        if len(running) > 1:
            assert sum(max(1, min(need.cpus, cpus)) for need in running) <= cpus
            assert not memory or sum(min(need.memory, memory) for need in running) <= memory
        assert pools.running == len(running)
        done = running.pop(data.draw(st.integers(0, len(running) - 1)))
        pools.release(done)
