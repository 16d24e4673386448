"""A fault planted in one class of a trained network: predicted by its runner, measured, warned about, gated."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import digits
import pytest
from cbuild_metrics.answers.params import Predict
from cbuild_metrics.quality.params.accuracy import Accuracy
from safetensors.torch import load_file, save_file

from compressbuild.compressfile.spec import GateSpec
from compressbuild.errors import Mark
from compressbuild.evaluate.concerns import collapsed_classes
from compressbuild.evaluate.gates import judge_gate
from compressbuild.graph import GatePlan, MetricPlan


def top1(model: Path, place: Path) -> dict[str, Any]:
    made = digits.apply(
        "cbuild_metrics.answers.predict:predict", model, Predict(data="test"), place / "predictions"
    ).out
    found = digits.run_node("cbuild_metrics.quality.accuracy:top1", made, Accuracy(), place / "top1")
    return found.facts


@pytest.fixture
def damaged(trained: Path, tmp_path: Path) -> Path:
    """The row of class 4 in the last layer, at a tenth, and its bias lowered."""
    copy = tmp_path / "damaged"
    shutil.copytree(trained, copy)
    weights = load_file(copy / "weights.safetensors")
    for name, tensor in weights.items():
        if tensor.dim() == 2 and len(tensor) == 10:
            tensor[4] *= 0.1
            weights[name.replace("weight", "bias")][4] -= 5
    save_file(weights, copy / "weights.safetensors")
    return copy


def test_it_is_named_though_the_mean_looks_fine(trained: Path, damaged: Path, tmp_path: Path) -> None:
    sound, broken = top1(trained, tmp_path / "a"), top1(damaged, tmp_path / "b")
    assert sound["value"] > 0.93
    assert broken["value"] > 0.8
    for base, name in ((sound, "digits"), (None, None)):
        found = collapsed_classes("top1", broken, base, name)
        assert found is not None
        assert found.classes == ("4",)
    assert collapsed_classes("top1", sound, None, None) is None
    mark = Mark("Compressfile", 1, 1)
    plan = GatePlan(GateSpec("top1", mark, min=0.8, min_class=0.6), MetricPlan("top1", "", "higher", 1))
    verdicts = {v.limit: v for v in judge_gate(plan, lambda _: broken)}
    assert (verdicts["min"].verdict, verdicts["min-class"].verdict) == ("pass", "fail")
    assert verdicts["min-class"].reason == "class 4"
