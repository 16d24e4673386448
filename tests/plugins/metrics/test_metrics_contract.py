"""Metrics, and the techniques and kinds that they stand on, keep the contract."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import contracts
import digits
import pytest
from cbuild_metrics.answers.params import Predict
from cbuild_metrics.manifest import compressbuild_metrics

from compressbuild.api.conformance import KindContract, MetricContract, TechniqueContract, artifact, counted

NUMBERS = ("mse", "pearson", "spearman", "snr")
QUICK = {"seconds": 0.05}
# metric → its parameters
ON_ANSWERS = {
    **{name: {} for name in ["top1", "top5", "f1", "precision", "recall", "mse", "pearson", "spearman", "perplexity"]},
    **{name: {} for name in ["agreement", "cosine", "max-abs", "snr", "sqnr"]},
    "user": {"function": "metric_functions:mean"},
}
ON_FILES = {name: {} for name in ["size", "compressed-size", "macs", "parameters", "nonzeros", "distinct", "layers"]}
RUNNING = {
    "latency": {**QUICK, "sessions": 4, "blocks": 5},
    "throughput": {**QUICK, "batches": [1]},
    "load-time": {"repeat": 1},
    "peak-memory": {"runs": 1},
    "roofline": QUICK,
}
# Measured from answers that only a whole build makes (attacks, corruptions, slices, texts); e2e tests build them.
OF_A_BUILD = ("fgsm", "pgd", "corruption", "ood", "edge-cases", "slices", "bleu", "chrf")


@cache
def answers(loader: str) -> Path:
    out = contracts.onnx_model().with_name(f"answers-{loader}")
    run, data = "cbuild_metrics.answers.predict:predict", {"test": f"few_digits:{loader}"}
    return digits.apply(run, contracts.onnx_model(), Predict(data="test"), out, datasets=data).out


class OfMetric(MetricContract):
    preload = contracts.TORCH
    factories = contracts.FACTORIES
    unbounded = ("ignore",)
    others = {"args": {"axis": 1}}

    def subject(self, place):
        if self.metric in ON_ANSWERS:
            return answers("numbers" if self.metric in NUMBERS else "load")
        if self.metric in RUNNING:
            return artifact(contracts.onnx_model(), "onnx", backend="onnxruntime")
        return contracts.onnx_model()

    def inputs(self, place):
        if getattr(self.record, "paired", False):
            return {"baseline": artifact(answers("numbers" if self.metric in NUMBERS else "load"), "predictions")}
        counts = self.metric in RUNNING and self.record.census
        return {"model": counted(artifact(contracts.onnx_model(), "onnx"))} if counts else {}


for name, params in {**ON_ANSWERS, **ON_FILES, **RUNNING}.items():
    globals()[f"Test_{name}"] = type(f"Test_{name}", (OfMetric,), {"metric": name, "params": params, "kind": "onnx"})


class TestPredict(TechniqueContract):
    technique = "metrics.predict"
    params = {"data": "test"}
    datasets = contracts.DATASETS
    preload = contracts.TORCH

    def subject(self, place):
        return artifact(contracts.onnx_model(), "onnx")


class TestPredictions(KindContract):
    kind = "predictions"
    raw = ("*.npy",)

    def subject(self, place):
        return answers("load")


@pytest.mark.parametrize("record", compressbuild_metrics(), ids=lambda record: record.name)
def test_each_metric_has_a_contract(record) -> None:
    assert record.name in {**ON_ANSWERS, **ON_FILES, **RUNNING} or record.name in OF_A_BUILD
