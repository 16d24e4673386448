"""Latency of real sessions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as models
import pytest
from cbuild_metrics.speed.latency import latency
from cbuild_metrics.speed.params import Latency
from fake_runner import FakeRunner

from compressbuild.api import UserError, WorkInput
from compressbuild.api.testing import make_context

QUICK = Latency(seconds=0.3, batch=8)


def onnx_input(path: Path) -> WorkInput:
    return WorkInput(path=str(path), kind="onnx", load="cbuild_onnxruntime.runner:load")


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
    assert found["low"] <= found["value"] <= found["high"]
    assert 4 <= found["sessions"] <= 16
    assert len(found["session_ratios"]) <= found["sessions"]
    assert isinstance(found["noisy"], bool)


def test_a_network_is_as_fast_as_itself(large: Path, tmp_path: Path) -> None:
    found = run(tmp_path, large, large, Latency(seconds=1.0, batch=8))
    assert found["ratio_low"] <= 1.03
    assert found["ratio_high"] >= 0.97


def test_alone_there_is_no_ratio(small: Path, tmp_path: Path) -> None:
    found = run(tmp_path, small)
    assert "ratio" not in found
    assert "baseline" not in found


def test_a_fixed_batch_is_kept(tmp_path: Path) -> None:
    fixed = models.save(models.cnn(batch=3, blocks=1), tmp_path / "fixed")
    free = models.save(models.cnn(blocks=1), tmp_path / "free")
    found = run(tmp_path, fixed, free)
    assert found["batch"] == 3
    assert found["baseline"]["error"] == (
        "the baseline takes batches of 8, but this model of 3: they cannot be compared"
    )
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


def test_both_run_at_the_size_that_the_subject_takes(fake: Callable[..., Any]) -> None:
    """The baseline would take 16."""
    seen: dict[str, set[int]] = {"subject": set(), "baseline": set()}

    def runs(role: str, refuses: int) -> FakeRunner:
        def answer(**feeds: Any) -> dict[str, Any]:
            side = feeds["x"].shape[1]
            if side == refuses:
                raise ValueError(f"no {side}")
            seen[role].add(side)
            return {"y": feeds["x"]}

        return FakeRunner(answer, x=(("n", "side"), "float32"))

    made = fake(subject=runs("subject", 16), baseline=runs("baseline", 0))
    found = latency(made, Path(), Latency(seconds=0.01, blocks=5))
    assert found["axes"] == {"side": 64}
    assert seen == {"subject": {64}, "baseline": {64}}
    assert "ratio" in found


def test_progress_ends_at_one(small: Path, tmp_path: Path) -> None:
    reports: list[dict[str, Any]] = []
    ctx = make_context(tmp_path / "out", subject=onnx_input(small), progress=reports)
    latency(ctx, small, QUICK)
    done = [report["done"] for report in reports]
    assert done == sorted(done)
    assert done[-1] == 1.0
    assert reports[-1]["total"] == 1.0
