"""The scores of predictions that count, and the labels that they are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressbuild.api import UserError

from .labels import require_labels
from .predictions import Predictions

__all__ = ["classified", "left_out", "output"]


def classified(predictions: Predictions, name: str | None, ignore: int) -> tuple[np.ndarray, np.ndarray]:
    """(scores M×C, labels M) of the samples that count; UserError if they do not fit together."""
    scores, labels = output(predictions, name), predictions.labels
    require_labels(labels, "a metric of classes")
    _check(scores, labels)
    scores = scores.reshape(-1, scores.shape[-1])
    labels = labels.reshape(-1).astype(np.int64)
    kept = labels != ignore
    scores, labels = scores[kept], labels[kept]
    classes = scores.shape[1]
    if not len(labels):
        raise UserError(
            f"every label is {ignore}, which the metric ignores",
            hint="check the loader's labels, or set the metric's 'ignore:' to another label",
        )
    if labels.min() < 0 or labels.max() >= classes:
        wrong = int(labels.min() if labels.min() < 0 else labels.max())
        raise UserError(f"a label is {wrong}, but the model has classes 0 … {classes - 1}")
    return scores, labels


def output(predictions: Predictions, name: str | None) -> np.ndarray:
    """The output called ``name``; by default ``logits``, or else the first."""
    outputs = predictions.outputs
    name = _default(predictions) if name is None else name
    if name not in outputs:
        raise UserError(f"the model has no output '{name}'", hint=f"it has: {', '.join(outputs)}")
    return outputs[name]


def left_out(predictions: Predictions, name: str | None) -> dict[str, Any]:
    """Facts for a model with several outputs where nobody said which one counts."""
    default = _default(predictions)
    others = [other for other in predictions.outputs if other != default]
    return {"output": default, "left_out": others} if name is None and others else {}


def _default(predictions: Predictions) -> str:
    return "logits" if "logits" in predictions.outputs else next(iter(predictions.outputs))


def _check(scores: np.ndarray, labels: np.ndarray) -> None:
    if labels.dtype.kind not in "iu":
        raise UserError(f"the labels are {labels.dtype}, not class numbers", hint="top-k accuracy needs integer labels")
    if scores.dtype.kind != "f" or scores.shape[:-1] != labels.shape:
        raise UserError(
            f"an output of {scores.dtype} {list(scores.shape)} does not fit labels {list(labels.shape)}",
            hint="top-k accuracy needs scores N×…×C for labels N×…; the metric's 'output' chooses another output",
        )
    if scores.shape[-1] < 2:
        raise UserError("the output has one score per sample, so there is nothing to choose from")
