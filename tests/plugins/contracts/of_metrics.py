"""Metrics, and the techniques and kinds that they stand on, keep the contract."""

from __future__ import annotations

from compressbuild.api.conformance import KindContract, MetricContract, TechniqueContract, artifact, counted

from . import subjects
from .answers import examples, predictions
from .classes import classes

QUICK = {"seconds": 0.05}
BY = {"by": "metric_functions:parity"}
NOISE = {"corruptions": ["noise"], "severities": [1]}


class OfMetric(MetricContract):
    preload = subjects.TORCH
    factories = subjects.FACTORIES
    unbounded = ("ignore",)
    others = {"args": {"axis": 1}, "clip": [-100.0, 100.0]}
    beside = {"column": {"by": None}}


class OfAnswers(OfMetric):
    """``good``, ``bad``: names of answers that can be measured, and that cannot."""

    preload = subjects.NUMBERS
    kind = "predictions"
    good: str
    bad: str

    def subject(self, place):
        return predictions(self.good)

    def inputs(self, place):
        return {"baseline": artifact(predictions(self.good), "predictions")} if self.record.paired else {}

    def unfit(self, place):
        return [predictions(self.bad)]


CLASSIFIED = {"good": "classes", "bad": "numbers"}
GUESSED = {"good": "numbers", "bad": "rows"}
PAIRED = {"good": "classes", "bad": "fewer"}
SAID = {"good": "text", "bad": "classes", "params": {"decode": "metric_functions:text"}}
ON_ANSWERS = {
    **dict.fromkeys(("top1", "top5", "f1", "precision", "recall", "perplexity", "fgsm", "pgd"), CLASSIFIED),
    **dict.fromkeys(("mse", "pearson", "spearman", "snr"), GUESSED),
    **dict.fromkeys(("agreement", "cosine", "max-abs", "sqnr"), PAIRED),
    **dict.fromkeys(("bleu", "chrf"), SAID),
    "user": {"good": "classes", "bad": "lost", "params": {"function": "metric_functions:mean"}},
    "corruption": {"good": "corrupted", "bad": "numbers", "params": NOISE},
    "ood": {"good": "mixed", "bad": "flat", "params": {"outside": "numbers"}},
    "edge-cases": {"good": "edges", "bad": "other-edges"},
    "slices": {"good": "sliced", "bad": "sliced-numbers", "params": BY},
}
globals().update(classes(OfAnswers, ON_ANSWERS))


class OfFiles(OfMetric):
    kind = "onnx"

    def subject(self, place):
        return subjects.onnx_model()


class OfCounts(OfFiles):
    def unfit(self, place):
        return [artifact(predictions("classes"), "predictions")]  # a kind that counts nothing


globals().update(classes(OfFiles, {"size": {}, "compressed-size": {}}))
globals().update(
    classes(
        OfCounts, {name: {} for name in ("macs", "parameters", "nonzeros", "distinct", "quantized-share", "layers")}
    )
)


class OfRuns(OfMetric):
    def subject(self, place):
        return artifact(subjects.onnx_model(), "onnx", backend="onnxruntime")

    def inputs(self, place):
        return {"model": counted(artifact(subjects.onnx_model(), "onnx"))} if self.record.census else {}

    def unfit(self, place):
        return [artifact(subjects.strange_onnx(), "onnx", backend="onnxruntime")]


RUNNING = {
    "latency": {**QUICK, "sessions": 4, "blocks": 5},
    "throughput": {**QUICK, "batches": [1]},
    "load-time": {"repeat": 1},
    "peak-memory": {"runs": 1},
    "roofline": QUICK,
}
globals().update(classes(OfRuns, {name: {"params": params} for name, params in RUNNING.items()}))


class OfPrediction(TechniqueContract):
    datasets = subjects.DATASETS
    preload = subjects.TORCH
    factories = subjects.FACTORIES
    beside = {"column": {"by": None}}
    unfit_params = ({"data": "larger"}, {"data": "nothing"})

    def subject(self, place):
        return artifact(subjects.onnx_model(), "onnx")


class OfExamples(OfPrediction):
    references = {"examples": "examples"}
    unfit_params = ()

    def inputs(self, place):
        return {"examples": artifact(examples(), "examples")}

    def unfit(self, place):
        return [artifact(subjects.strange_onnx(), "onnx")]


class OfAttack(OfPrediction):
    others = {"clip": [-100.0, 100.0]}
    unfit_params = ({"data": "larger"}, {"data": "numbers"}, {"mean": [0.0, 0.0]})

    def subject(self, place):
        return subjects.torch_model()


DATA = {"data": "test"}
PREDICTIONS = {
    "metrics.predict": {"params": DATA},
    "metrics.predict-corrupted": {"params": {**DATA, **NOISE}},
    "metrics.predict-outside": {"params": {**DATA, "outside": "numbers"}},
    "metrics.predict-edges": {"params": DATA},
    "metrics.predict-sliced": {"params": {**DATA, **BY}},
}
globals().update(classes(OfPrediction, PREDICTIONS))
globals().update(classes(OfExamples, {"metrics.predict-examples": {}}))
ATTACKS = {"metrics.attack-fgsm": {"samples": 20}, "metrics.attack-pgd": {"samples": 20, "steps": 2}}
globals().update(classes(OfAttack, {name: {"params": {**DATA, **params}} for name, params in ATTACKS.items()}))


class OfKind(KindContract):
    raw = ("*.npy",)
    preload = subjects.TORCH

    def subject(self, place):
        return predictions("classes") if self.kind == "predictions" else examples()


globals().update(classes(OfKind, {"predictions": {}, "examples": {}}))
