"""Timing on a clock that the test turns, and the arithmetic of its intervals."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import cycle
from statistics import NormalDist

import numpy as np
import pytest
from cbuild_metrics.speed.params import Latency
from cbuild_metrics.speed.timing import Sample, Timed, estimate
from cbuild_metrics.speed.timing import measure as measure_really


def measure(pair: list[Timed], params: Latency, clock: Callable[[], float]) -> Sample:
    """The same models in each session; the world's clock is made up, so its scheduler is, too."""
    return measure_really(lambda: [Timed(one.run) for one in pair], params, clock, switches=lambda: 0)


class World:
    """A clock that only moves when a model runs, and then by as much as the model takes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def clock(self) -> float:
        return self.now

    def model(self, name: str, seconds: Callable[[], float]) -> Timed:
        def run() -> None:
            self.order.append(name)
            self.now += seconds()

        return Timed(run)


def test_the_value_and_the_ratio_are_what_the_models_take() -> None:
    world = World()
    sample = measure([world.model("a", lambda: 0.003), world.model("b", lambda: 0.006)], Latency(), world.clock)
    found = sample.ratio()
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert sample.time(0).value == pytest.approx(0.003)
    assert sample.time(1).value == pytest.approx(0.006)
    assert not sample.is_noisy


def test_pairs_alternate_who_goes_first() -> None:
    world = World()
    pair = [world.model("a", lambda: 0.01), world.model("b", lambda: 0.01)]
    measure(pair, Latency(sessions=4, blocks=12, warmup=2), world.clock)
    assert "".join(world.order) == "aabb" + "abbaab" + "aabb" + "baabba" + "aabb" + "abbaab" + "aabb" + "baabba"


def test_short_runs_are_grouped_into_blocks() -> None:
    world = World()
    sample = measure([world.model("a", lambda: 0.00016)], Latency(blocks=16), world.clock)
    assert (len(sample.pairs), len(sample.runs[0])) == (16, 16 * 13)
    assert sample.sessions == 8


def test_time_is_bounded() -> None:
    world = World()
    sample = measure([world.model("a", lambda: 0.5)], Latency(seconds=1.5), world.clock)
    assert sample.sessions == 4
    assert len(world.order) == 12  # in each session one to warm up, and two blocks
    world = World()
    measure([world.model("a", lambda: 0.02)], Latency(seconds=4.0, blocks=10_000), world.clock)
    assert world.now == pytest.approx(4.0, abs=1.0)


def test_a_noisy_run_gets_up_to_twice_the_sessions() -> None:
    world = World()
    times = np.random.default_rng(0)
    wild = [world.model(name, lambda: 0.003 * float(times.lognormal(0, 0.5))) for name in "ab"]
    sample = measure(wild, Latency(seconds=2.0, blocks=16), world.clock)
    assert sample.sessions == 16
    assert sample.is_noisy


def test_slow_loading_means_fewer_sessions() -> None:
    world = World()

    def load() -> list[Timed]:
        world.now += 2.0
        return [world.model("a", lambda: 0.003)]

    sample = measure_really(load, Latency(seconds=2.0), world.clock, switches=lambda: 0)
    assert sample.sessions == 4


def test_a_spell_that_slows_the_two_by_different_factors_does_not_count() -> None:
    """A neighbour on a shared machine: for a third of the time one model takes 1.2 times as long, the other 1.5."""
    world = World()

    def slow() -> bool:
        return 0.5 < world.now % 1.5 < 1.0

    pair = [
        world.model("a", lambda: 0.003 * (1.5 if slow() else 1.0)),
        world.model("b", lambda: 0.006 * (1.2 if slow() else 1.0)),
    ]
    sample = measure(pair, Latency(), world.clock)
    assert sample.ratio().value == pytest.approx(0.5, rel=0.01)
    assert sample.ratio().high < 0.51
    assert not sample.is_noisy
    assert 0.1 < 1 - sample.undisturbed().mean() < 0.6
    assert np.percentile(sample.runs[0], 95) == pytest.approx(0.0045)


def test_leaving_pairs_out_favours_neither_of_two_equal_models() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(100):
        sample = Sample(2)
        for number, pair in enumerate(1 + rng.pareto(3, (200, 2))):
            sample.add(number // 25, [(float(seconds), True) for seconds in pair])
        assert 0.2 < sample.undisturbed().mean() < 0.8
        found.append(np.log(sample.ratio().value))
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(100)
    assert abs(np.mean(found)) < 0.01


def test_sessions_that_differ_widen_the_interval() -> None:
    """Each session is steady within itself: blocks alone would say that the ratio is known exactly."""
    rng = np.random.default_rng(1)
    world = World()

    def load() -> list[Timed]:
        factor = float(rng.lognormal(0, 0.02))
        return [world.model("a", lambda: 0.003 * factor), world.model("b", lambda: 0.003)]

    sample = measure_really(load, Latency(), world.clock, switches=lambda: 0)
    found = sample.ratio()
    assert 0.01 < found.high - found.low < 0.1
    assert len(sample.session_ratios()) == 8
    assert found.low <= 1.0 <= found.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for count in (4, 8, 30):
        found = [estimate(list(np.log(0.8) + rng.normal(0, 0.03, count))) for _ in range(2000)]
        covered = np.mean([one.low <= 0.8 <= one.high for one in found])
        assert 0.93 <= covered <= 0.975


def test_the_interval_is_students() -> None:
    found = estimate([0.1, 0.2, 0.3, 0.4])
    half = 3.182 * np.std([0.1, 0.2, 0.3, 0.4], ddof=1) / 2
    assert np.log([found.low, found.value, found.high]) == pytest.approx([0.25 - half, 0.25, 0.25 + half])
    many = estimate(list(np.random.default_rng(0).normal(0, 1, 400)))
    normal = NormalDist().inv_cdf(0.975)
    assert np.log(many.high / many.low) / 2 * 20 >= normal * 0.9  # beyond the table the interval is a little wide
    alone = estimate([0.0])
    assert (alone.value, alone.low, alone.is_noisy) == (1.0, 0.0, True)


def test_the_collector_is_off_while_measuring_and_on_again_after() -> None:
    world = World()
    seen: list[bool] = []
    timed = Timed(lambda: seen.append(gc.isenabled()))
    with pytest.raises(ZeroDivisionError):
        measure([timed, world.model("b", lambda: 1 / 0)], Latency(), world.clock)
    assert seen
    assert not any(seen)
    assert gc.isenabled()


def test_waiting_for_a_turn_does_not_count() -> None:
    """A run longer than a time slice waits for other programs; a shorter one does not."""
    world = World()
    turns = cycle([False, False, True])
    switched = [0]

    def long() -> float:
        waits = next(turns)
        switched[0] += waits
        return 0.006 + (0.05 if waits else 0.0)

    models = [world.model("a", lambda: 0.003), world.model("b", long)]
    sample = measure_really(
        lambda: [Timed(one.run) for one in models], Latency(blocks=100), world.clock, switches=lambda: switched[0]
    )
    assert sample.ratio().value == pytest.approx(0.5)
    assert sample.ratio().high == pytest.approx(0.5)
    assert (~sample.undisturbed()).sum() > 5
    assert not sample.is_crowded


def test_where_every_run_waits_all_count_and_it_is_noisy() -> None:
    world = World()
    switched = [0]

    def waiting() -> float:
        switched[0] += 1
        return 0.05

    timed = world.model("a", waiting)
    sample = measure_really(lambda: [Timed(timed.run)], Latency(seconds=1.0), world.clock, switches=lambda: switched[0])
    assert sample.is_crowded
    assert sample.is_noisy
    assert sample.counted().all()
    assert sample.time().value == pytest.approx(0.05)
    assert world.now < 6
