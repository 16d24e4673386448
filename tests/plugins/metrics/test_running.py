"""Throughput, load time and memory on runners whose cost is known, and the packed size of real files."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbuild_metrics.cost.parameters import distinct, nonzeros
from cbuild_metrics.cost.params import Compressed
from cbuild_metrics.cost.size import compressed_size
from cbuild_metrics.speed.params import Load, Memory, Throughput
from cbuild_metrics.speed.running import load_time, peak_memory, throughput
from fake_runner import FakeRunner

from compressbuild.api import Params
from compressbuild.api.testing import make_context


def sleeper(fixed: float, each: float, batch: Any = "batch") -> FakeRunner:
    def run(x: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(fixed + each * len(x))
        return {"y": x}

    return FakeRunner(run, x=((batch, 2), "float32"))


def test_throughput_at_several_batch_sizes(fake: Callable[..., Any], tmp_path: Path) -> None:
    ctx = fake(subject=sleeper(0.01, 0.0005))
    result = throughput(ctx, tmp_path, Throughput(batches=(1, 16, 2), seconds=0.2))
    assert set(result["batches"]) == {"1", "2", "16"}
    assert result["batch"] == 16
    assert result["value"] == result["batches"]["16"]["value"] <= 16 / 0.018
    assert result["batches"]["1"]["value"] <= 1 / 0.0105
    for batch, row in result["batches"].items():
        assert row["value"] == pytest.approx(1000 * int(batch) / row["latency"])


def test_a_fixed_batch_is_measured_once(fake: Callable[..., Any], tmp_path: Path) -> None:
    result = throughput(fake(subject=sleeper(0.001, 0, batch=4)), tmp_path, Throughput(seconds=0.05))
    assert list(result["batches"]) == ["4"]


def test_load_time_leaves_out_the_first(fake: Callable[..., Any], tmp_path: Path) -> None:
    ctx = fake(subject=sleeper(0, 0))
    delays = iter([0.2, 0.01, 0.01, 0.01])
    ctx.runner = lambda name: time.sleep(next(delays))
    result = load_time(ctx, tmp_path, Load(repeat=3))
    assert result["first"] >= 200 > result["value"] >= result["least"] >= 10
    assert result["samples"] == 3


def test_peak_memory_sees_what_a_run_holds_for_a_moment(fake: Callable[..., Any], tmp_path: Path) -> None:
    held = 96 << 20

    def hungry(x: np.ndarray) -> dict[str, np.ndarray]:
        return {"y": x + np.ones(held // 8).sum()}

    modest = FakeRunner(lambda x: {"y": x}, x=(("batch", 2), "float32"))
    large = FakeRunner(hungry, x=(("batch", 2), "float32"))
    assert peak_memory(fake(subject=modest), tmp_path, Memory())["value"] < held / 4
    assert held * 0.9 < peak_memory(fake(subject=large), tmp_path, Memory())["value"] < held * 1.5


@pytest.mark.parametrize("method", ["zlib", "bz2", "lzma"])
def test_compressed_size(method: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    files = {"a/weights": rng.bytes(20_000), "zeros": bytes(50_000)}
    subject = tmp_path / "subject"
    for name, data in files.items():
        (subject / name).parent.mkdir(parents=True, exist_ok=True)
        (subject / name).write_bytes(data)
    result = compressed_size(make_context(tmp_path / "out"), subject, Compressed(method=method))
    assert result["value"] == sum(result["files"].values())
    assert 20_000 <= result["files"]["a/weights"] < 21_000  # noise does not shrink
    assert result["files"]["zeros"] < 200
    assert result["ratio_to_size"] == result["value"] / 70_000
    if method == "zlib":
        assert result["files"] == {name: len(zlib.compress(data, 9)) for name, data in files.items()}


def test_nonzeros_and_distinct_values(tmp_path: Path, rng: np.random.Generator) -> None:
    import onnx
    from onnx import numpy_helper

    path = tmp_path / "m"
    path.mkdir()
    weight = rng.integers(-3, 4, (8, 6)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, ["batch", 8])],
        [onnx.helper.make_tensor_value_info("y", 1, ["batch", 6])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(onnx.helper.make_model(graph), str(path / "model.onnx"))
    ctx = make_context(tmp_path / "out", subject=path, kind="onnx", census="cbuild_onnx.model.census:census")
    found = nonzeros(ctx, path, Params())
    assert found["value"] == int((weight != 0).sum())
    assert found["density"] == found["value"] / 48
    assert found["per_tensor"] == {"w": {"n": 48, "nonzero": found["value"]}}
    kinds = len(set(weight.ravel().tolist()))
    assert distinct(ctx, path, Params()) == {
        "value": kinds,
        "bits": int(np.ceil(np.log2(kinds))),
        "per_tensor": {"w": kinds},
    }


def test_a_trained_torch_model(trained: Path, run_on_digits: Callable[..., dict[str, Any]]) -> None:
    found = run_on_digits("cbuild_metrics.cost.parameters:nonzeros", trained, Params())
    other = run_on_digits("cbuild_metrics.cost.parameters:parameters", trained, Params())
    assert found["value"] == other["nonzero"]
    assert found["parameters"] == other["value"] == sum(row["n"] for row in found["per_tensor"].values())
