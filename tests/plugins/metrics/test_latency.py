"""Timing, on a clock that the test turns, and on real sessions."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as models
import pytest
from cbuild_metrics import Latency
from cbuild_metrics.latency import Timed, _noisy, latency, ratio_interval
from cbuild_metrics.latency import measure as measure_really
from fake_runner import FakeRunner

from compressbuild.api import UserError, WorkInput
from compressbuild.api.testing import make_context

measure = partial(measure_really, switches=lambda: 0)  # the world's clock is made up, so its scheduler is, too


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
    pair = [world.model("a", lambda: 0.003), world.model("b", lambda: 0.006)]
    measure(pair, Latency(), world.clock)
    assert np.median(pair[0].blocks) == pytest.approx(0.003)
    assert ratio_interval(pair[0].blocks, pair[1].blocks, 0) == pytest.approx((0.5, 0.5, 0.5))


def test_blocks_alternate_who_goes_first() -> None:
    world = World()
    pair = [world.model("a", lambda: 0.01), world.model("b", lambda: 0.01)]
    measure(pair, Latency(blocks=6, warmup=2), world.clock)
    assert "".join(world.order) == "aabb" + "abba" * 3


def test_short_runs_are_grouped_into_blocks() -> None:
    world = World()
    fast = world.model("a", lambda: 0.00016)
    measure([fast], Latency(blocks=10), world.clock)
    assert fast.repeat == 13
    assert (len(fast.blocks), len(fast.runs)) == (10, 130)


def test_time_is_bounded() -> None:
    world = World()
    slow = world.model("a", lambda: 0.4)
    measure([slow], Latency(seconds=1.5), world.clock)
    assert len(slow.blocks) == 5
    assert len(world.order) == 7  # and two to warm up
    world = World()
    steady = world.model("a", lambda: 0.02)
    measure([steady], Latency(seconds=1.5, blocks=10_000), world.clock)
    assert world.now == pytest.approx(1.5, abs=0.2)


def test_a_noisy_run_gets_up_to_twice_the_time() -> None:
    world = World()
    times = np.random.default_rng(0)
    wild = [world.model(name, lambda: float(times.uniform(0.01, 0.05))) for name in "ab"]
    measure(wild, Latency(seconds=1.0, blocks=10_000), world.clock)
    assert 2.0 <= world.now < 2.6


def test_a_slow_spell_moves_the_values_but_not_the_ratio() -> None:
    """The machine runs three times slower for a third of the time, on both models alike."""
    world = World()

    def load() -> float:
        return 3.0 if 0.5 < world.now < 1.0 else 1.0

    pair = [world.model("a", lambda: 0.004 * load()), world.model("b", lambda: 0.005 * load())]
    measure(pair, Latency(), world.clock)
    ratio, low, high = ratio_interval(pair[0].blocks, pair[1].blocks, 0)
    assert (ratio, low, high) == pytest.approx((0.8, 0.8, 0.8))
    assert np.percentile(pair[0].runs, 95) == pytest.approx(0.012)


def test_spikes_of_single_runs_do_not_move_the_median() -> None:
    world = World()
    spikes = cycle([1.0] * 19 + [30.0])
    timed = world.model("a", lambda: 0.0005 * next(spikes))
    measure([timed], Latency(), world.clock)
    assert np.median(timed.blocks) == pytest.approx(0.0005)
    assert max(timed.runs) == pytest.approx(0.015)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        noise = rng.lognormal(0, 0.1, (2, 60))
        _, low, high = ratio_interval(list(0.8 * noise[0]), list(noise[1]), seed, 400)
        covered += low <= 0.8 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_the_interval_is_seeded() -> None:
    values = list(np.random.default_rng(0).lognormal(0, 0.2, 40))
    assert ratio_interval(values, values[::-1], 3) == ratio_interval(values, values[::-1], 3)


def test_the_collector_is_off_while_measuring_and_on_again_after() -> None:
    world = World()
    seen: list[bool] = []
    timed = Timed(lambda: seen.append(gc.isenabled()))
    with pytest.raises(ZeroDivisionError):
        measure([timed, world.model("b", lambda: 1 / 0)], Latency(), world.clock)
    assert seen
    assert not any(seen)
    assert gc.isenabled()


# -- on real sessions --------------------------------------------------------------------------------------------------

QUICK = Latency(seconds=0.3, batch=8)


def onnx_input(path: Path) -> WorkInput:
    return WorkInput(path=str(path), kind="onnx", load="cbuild_onnxruntime.backend:load")


def run(place: Path, subject: Path, baseline: Path | None = None, params: Latency = QUICK) -> dict[str, Any]:
    inputs = {} if baseline is None else {"baseline": onnx_input(baseline)}
    ctx = make_context(place / "out", subject=onnx_input(subject), inputs=inputs)
    found = latency(ctx, subject, params)
    assert json.loads(json.dumps(found)) == found
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save(models.cnn(blocks=1, channels=8), tmp_path_factory.mktemp("small") / "m")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save(models.cnn(blocks=4, channels=64), tmp_path_factory.mktemp("large") / "m")


def test_a_smaller_network_is_faster(small: Path, large: Path, tmp_path: Path) -> None:
    found = run(tmp_path, small, large)
    assert 0 < found["ratio_low"] <= found["ratio"] <= found["ratio_high"] < 0.5
    assert found["value"] < found["baseline"]["value"]
    assert found["value"] <= found["p95"] <= found["p99"]
    assert found["batch"] == 8
    assert found["throughput"] == pytest.approx(8000 / found["value"])
    assert found["describe"]["provider"] == found["baseline"]["describe"]["provider"] == "CPUExecutionProvider"
    assert found["samples"] >= found["blocks"] >= 5
    assert isinstance(found["noisy"], bool)


def test_a_network_is_as_fast_as_itself(large: Path, tmp_path: Path) -> None:
    found = run(tmp_path, large, large, Latency(seconds=1.0, batch=8))
    assert found["ratio"] == pytest.approx(1.0, abs=0.15)


def test_alone_there_is_no_ratio(small: Path, tmp_path: Path) -> None:
    found = run(tmp_path, small)
    assert "ratio" not in found
    assert "baseline" not in found


def test_a_fixed_batch_is_kept(tmp_path: Path) -> None:
    fixed = models.save(models.cnn(batch=3, blocks=1), tmp_path / "fixed")
    free = models.save(models.cnn(blocks=1), tmp_path / "free")
    found = run(tmp_path, fixed, free)
    assert found["batch"] == 3
    assert found["baseline"]["error"] == ("the baseline takes batches of 8, this model of 3: they cannot be compared")
    assert "ratio" not in found


def test_a_baseline_that_cannot_be_loaded_is_said(small: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.onnx").write_bytes(b"not a model")
    found = run(tmp_path, small, tmp_path / "broken")
    assert found["baseline"]["error"].startswith("the baseline cannot be measured: ONNX Runtime cannot load the model")
    assert found["value"] > 0


def feeds_of(fake: Callable[..., Any], params: Latency) -> tuple[dict[str, Any], dict[str, Any]]:
    seen: dict[str, Any] = {}

    def remember(**feeds: Any) -> dict[str, Any]:
        seen.update(feeds)
        return {"y": feeds["ids"]}

    runner = FakeRunner(remember, ids=(("n", "seq"), "int64"), image=(("n", 3), "float32"))
    return seen, latency(fake(subject=runner), Path(), params)


def test_inputs_are_made_from_what_the_model_declares(fake: Callable[..., Any]) -> None:
    params = Latency(seconds=0.01, blocks=5, batch=4, axes={"seq": 48}, seed=1)
    seen, found = feeds_of(fake, params)
    assert (seen["ids"].shape, seen["ids"].dtype) == ((4, 48), np.int64)
    assert (seen["image"].shape, seen["image"].dtype) == ((4, 3), np.float32)
    assert found["axes"] == {"seq": 48}
    again, _ = feeds_of(fake, params)
    np.testing.assert_array_equal(again["image"], seen["image"])


def test_a_misspelt_axis(fake: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="no input has an axis 'sequ'"):
        feeds_of(fake, Latency(axes={"sequ": 48}))


def test_progress_ends_at_one(small: Path, tmp_path: Path) -> None:
    reports: list[dict[str, Any]] = []
    ctx = make_context(tmp_path / "out", subject=onnx_input(small), progress=reports)
    latency(ctx, small, QUICK)
    done = [report["done"] for report in reports]
    assert done == sorted(done)
    assert done[-1] == 1.0
    assert reports[-1]["total"] == 1.0


def test_waiting_for_a_turn_does_not_count() -> None:
    """A run longer than a time slice waits for other programs; a shorter one does not."""
    world = World()
    turns = cycle([False, False, True])
    switched = [0]

    def long() -> float:
        waits = next(turns)
        switched[0] += waits
        return 0.006 + (0.05 if waits else 0.0)

    pair = [world.model("a", lambda: 0.003), world.model("b", long)]
    measure_really(pair, Latency(blocks=30), world.clock, switches=lambda: switched[0])
    assert ratio_interval(pair[0].blocks, pair[1].blocks, 0) == pytest.approx((0.5, 0.5, 0.5))
    assert len(pair[0].disturbed) == len(pair[1].disturbed) > 5
    assert not pair[0].crowded


def test_where_every_run_waits_all_count_and_it_is_noisy() -> None:
    world = World()
    switched = [0]

    def waiting() -> float:
        switched[0] += 1
        return 0.05

    timed = world.model("a", waiting)
    measure_really([timed], Latency(seconds=1.0), world.clock, switches=lambda: switched[0])
    assert timed.crowded
    assert _noisy([timed], 0)
    assert len(timed.blocks) == len(timed.disturbed) > 5
    assert world.now < 2.6
