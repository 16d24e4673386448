"""How long a process takes to start counts: in what may pass, in what is waited for, and in the next build."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from toyproject import HERE, Toy

from compressbuild.execute.local import LocalExecutor
from compressbuild.execute.pools import Need, Pools
from compressbuild.plan import Starts

TORCH = ("torch", "torch.onnx")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pools(clock: Clock) -> Pools:
    return Pools(2, clock=clock)


def test_what_starts_slowly_does_not_pass_into_a_short_gap(pools: Pools) -> None:
    """One slot is free for 10 s, then the head takes both. 5 s of work fit, after 20 s of starting they do not."""
    assert pools.try_acquire(0, Need(), 10)
    pools.began(0)
    assert not pools.try_acquire(1, Need(2), 1)
    assert not pools.try_acquire(2, Need(), 5, 20)
    assert pools.try_acquire(3, Need(), 5, 4)


def test_the_head_waits_for_what_still_starts(pools: Pools, clock: Clock) -> None:
    """A node starts for 20 s and runs for 1 s: what takes 15 s passes the head, but after it began, no more."""
    assert pools.try_acquire(0, Need(), 1, 20)
    assert not pools.try_acquire(1, Need(2), 1)
    assert pools.try_acquire(2, Need(), 15)
    pools.release(2)
    pools.began(0)
    pools.next_round()
    assert not pools.try_acquire(1, Need(2), 1)
    assert not pools.try_acquire(2, Need(), 15)


def test_one_that_starts_late_may_run_at_any_moment(pools: Pools, clock: Clock) -> None:
    assert pools.try_acquire(0, Need(), 3, 20)
    clock.now += 60
    assert not pools.try_acquire(1, Need(2), 1)
    assert not pools.try_acquire(2, Need(), 4)
    assert pools.try_acquire(3, Need(), 2)


def test_the_first_start_of_a_build_is_what_the_next_expects(tmp_path: Path) -> None:
    starts = Starts(tmp_path / "starts")
    assert starts.expected(TORCH) == 0.0
    starts.took(TORCH, 19.0)
    starts.took(TORCH, 0.01)
    assert starts.expected(TORCH) == 0.01, "its parent is warm"
    assert starts.expected(TORCH[:1]) == 0.0
    assert starts.save() is None
    again = Starts(tmp_path / "starts")
    assert again.expected(TORCH) == 19.0
    (tmp_path / "starts").write_bytes(b"damaged")
    assert Starts(tmp_path / "starts").expected(TORCH) == 0.0


def test_a_build_remembers_how_long_its_processes_took(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "project", cache=tmp_path / "cache")
    toy.write("f.txt", "abc")
    toy.write("Compressfile", "version: 1\nmodels: {f: {file: f.txt}}\ntargets: {a: {from: f, steps: [toy.copy]}}\n")
    report, _ = toy.build(executor=LocalExecutor({**os.environ, "PYTHONPATH": HERE}))
    assert report.exit_code == 0
    node = toy.open().graph.nodes[-1]
    assert toy.open().starts.expected(node.preload) > 0
