"""The benchmarks of large models and against Olive: the model they write is whole, the Compressfiles resolve."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from pages import ROOT

from compressbuild.compressfile.load import loads
from compressbuild.graph import build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def techniques(text: str, place: Path) -> set[str]:
    graph = build_graph(loads(text, place / "Compressfile"), discover(cache=None), Facts.fixed({}))
    return {node.name for node in graph.nodes}


def test_the_large_model_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = script("large_model", monkeypatch)
    monkeypatch.setattr(large, "WIDTH", 64)
    assert large.write_model(tmp_path, 100_000) == 6 * 64 * 64 * 4 == (tmp_path / "model.onnx.data").stat().st_size
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    weights = onnx.load(tmp_path / "model.onnx").graph.initializer
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in weights]
    assert len(arrays) == 6
    assert all(np.isfinite(array).all() and 0.1 < array.std() < 0.3 for array in arrays)
    assert {"optimize.onnx", "onnxruntime", "convert.fp16"} <= techniques(large.COMPRESSFILE, tmp_path)


def test_what_olive_is_compared_with_resolves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        name: techniques(json.dumps(case.compressfile(), indent=1), tmp_path)
        for name, case in script("olive", monkeypatch).cases().items()
    }
    assert {"quantize.static", "openvino.quantize", "onnxruntime", "openvino"} <= found["digits CNN"]
    assert {"quantize.dynamic", "openvino.quantize", "onnxruntime", "openvino"} <= found["MiniLM"]


def test_a_speed_beside_olive_is_the_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the two runs does ten times as much."""
    from cbuild_metrics.speed.params import Latency

    def start(path: Path) -> Callable[[dict[str, np.ndarray]], object]:
        work = np.ones(2_000_000 if path.name == "slow" else 200_000)
        return lambda feeds: float((work * feeds["x"]).sum())

    params = Latency(sessions=4, blocks=5, seconds=0.1)
    found = script("olive", monkeypatch).speed(tmp_path / "slow", tmp_path / "fast", start, {"x": np.ones(1)}, params)
    assert found.ratio > 3


def test_repeated_verdicts_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = script("verdicts", monkeypatch)
    result = {"value": 1.0, "baseline": {"value": 2.0}, "ratio": 0.5, "ratio_low": 0.45, "ratio_high": 0.55}
    result |= {"noisy": False, "disturbed": 0, "blocks": 9}
    monkeypatch.setattr(verdicts, "measure", lambda *_: result)
    assert verdicts.repeat(tmp_path, tmp_path, 1, 3) == {"faster": 3}


def test_what_ours_must_beat_in_the_search_over_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    auto = script("auto", monkeypatch)

    def row(form: str, lost: float, ratio: float, size: float = 0.5, width: float = 0.004) -> object:
        ends = (lost, lost - width, lost + width)
        return auto.Row("m", form, form, 0.9 - lost, ends, ratio, ratio - 0.02, ratio + 0.02, size)

    ours = row("ours", 0.002, 0.5)
    assert list(auto.worse([row("float", 0, 1), ours, row("Olive", 0.001, 0.9), row("default", 0.002, 0.8, 0.4)])) == []
    assert "ours may lose 0.0140" in "".join(auto.worse([row("ours", 0.01, 0.5)]))
    assert "Olive ×0.30" in "".join(auto.worse([ours, row("Olive", 0.002, 0.3)])), "surely faster"
    assert list(auto.worse([ours, row("Olive", 0.02, 0.3)])) == [], "it loses too much"
    assert "ours loses 0.0050" in "".join(auto.worse([row("ours", 0.005, 0.5), row("Olive", -0.005, 0.9)]))
    assert list(auto.worse([ours, row("Olive", 0.002, 0.49, 0.4)])), "neither faster nor smaller"


def test_recipes_that_are_measured_later_keep_the_rows_of_other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = script("recipes", monkeypatch)
    mlp, cnn = (recipes.MODELS[family][1] for family in ("mlp", "cnn"))
    old = {
        "date": "2026-01-01",
        "machine": "old",
        "recipes": {"r": {"rows": [{"model": cnn, "size": 1}, {"model": mlp, "size": 2}], "failed": [f"{mlp}: why"]}},
    }
    new = {
        "date": "2026-02-02",
        "machine": "new",
        "recipes": {"r": {"rows": [{"model": mlp, "size": 3}], "failed": []}},
    }
    found = recipes.merged(old, new, ["mlp"])
    assert found["recipes"]["r"] == {
        "rows": [{"date": "2026-01-01", "machine": "old", "model": cnn, "size": 1}, {"model": mlp, "size": 3}],
        "failed": [],
    }
    assert recipes.merged({}, new, ["mlp"])["recipes"] == new["recipes"]
