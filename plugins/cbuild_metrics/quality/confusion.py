"""Precision, recall and F1 from the confusion matrix of the likeliest class.

A class that is never predicted has precision 0, one that never occurs recall 0, as scikit-learn has it with
``zero_division=0``; the averages are over the classes that occur as a label or an answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.predictions import Predictions
from cbuild_kit.scores import classified

from compressbuild.api import Context

from .params.averaged import Averaged

__all__ = ["confusion", "f1", "precision", "recall", "scores"]


def precision(ctx: Context, subject: Path, params: Averaged) -> dict[str, Any]:
    return scores(Predictions.read(subject), params, "precision")


def recall(ctx: Context, subject: Path, params: Averaged) -> dict[str, Any]:
    return scores(Predictions.read(subject), params, "recall")


def f1(ctx: Context, subject: Path, params: Averaged) -> dict[str, Any]:
    return scores(Predictions.read(subject), params, "f1")


def confusion(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """C×C counts: the label is the row, the answer the column. A sample with a NaN score answers nothing: it counts
    in no column."""
    classes = outputs.shape[1]
    sound = ~np.isnan(outputs).any(axis=1)
    pairs = labels[sound] * classes + outputs[sound].argmax(axis=1)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def scores(predictions: Predictions, params: Averaged, which: str) -> dict[str, Any]:
    """``{"value", "average", "n", "per_class": {"0": {"value", "n"}}}``."""
    outputs, labels = classified(predictions, params.output, params.ignore)
    table = confusion(outputs, labels)
    right, answers = np.diag(table).astype(np.float64), table.sum(axis=0)
    support = np.bincount(labels, minlength=len(table))
    kept = (answers + support) > 0
    each = _ratio(which, right, answers, support)
    if params.average == "micro":
        value = float(_ratio(which, right.sum(), answers.sum(), support.sum()))
    elif params.average == "weighted":
        value = float((each * support).sum() / support.sum())
    else:
        value = float(each[kept].mean())
    return {
        "value": value,
        "average": params.average,
        "n": len(labels),
        "per_class": {
            str(index): {"value": float(each[index]), "n": int(support[index])} for index in np.flatnonzero(kept)
        },
    }


def _ratio(which: str, right: Any, answers: Any, support: Any) -> Any:
    below = {"precision": answers, "recall": support, "f1": (answers + support) / 2}[which]
    return np.divide(right, below, out=np.zeros_like(right, dtype=np.float64), where=np.asarray(below) > 0)
