"""Several workers at one address: each has its own room, and a measurement goes to the first alone."""

from __future__ import annotations

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
