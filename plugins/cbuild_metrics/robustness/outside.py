"""Whether a target's answers tell its own data from data of another kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.predictions import Predictions
from cbuild_kit.scores import output

from compressbuild.api import Context, UserError

from ..answers.predict import joined, run_over
from ..quality.regression import ranks
from .params.outside import Outside, OutsideScores

__all__ = ["auroc", "energy", "msp", "outside", "predict_outside"]


def predict_outside(ctx: Context, subject: Path, params: Outside) -> dict[str, Any]:
    """The subject's answers to both datasets; ``labels``: 1 for its own data, 0 for the other."""
    runner = ctx.runner("subject")
    own = run_over(ctx, runner, ctx.dataset(params.data), params.batch)
    other = run_over(ctx, runner, ctx.dataset(params.outside), params.batch)
    outputs = {name: joined(f"output '{name}'", [array, other.outputs[name]]) for name, array in own.outputs.items()}
    labels = np.repeat(np.array([1, 0]), [len(own.labels), len(other.labels)])
    Predictions(outputs, labels).write(ctx.out)
    return {"inside": len(own.labels), "outside": len(other.labels), "runs_on": runner.describe()}


def outside(ctx: Context, subject: Path, params: OutsideScores) -> dict[str, Any]:
    """``{"value": AUROC of the score, "fpr95", "inside", "outside": samples, "per_class": {"msp": {"value"}, …}}``.

    ``fpr95``: share of the other data that passes where 95 % of the own data does. A sample with a NaN counts against
    the model on either side.
    """
    predictions = Predictions.read(subject)
    scores = output(predictions, params.output)
    if scores.dtype.kind != "f" or scores.ndim != 2 or scores.shape[1] < 2:
        raise UserError(
            f"an output of {scores.dtype} N×{list(scores.shape[1:])} has no score for each class",
            hint="out-of-distribution scores need logits N×C; the metric's 'output' chooses another output",
        )
    own = predictions.labels == 1
    found = {name: function(scores.astype(np.float64)) for name, function in (("msp", msp), ("energy", energy))}
    for values in found.values():
        values[np.isnan(values)] = np.where(own, -np.inf, np.inf)[np.isnan(values)]
    chosen = found[params.score]
    threshold = np.sort(chosen[own])[int(0.05 * own.sum())]
    return {
        "value": auroc(chosen, own),
        "fpr95": float((chosen[~own] >= threshold).mean()),
        "inside": int(own.sum()),
        "outside": int((~own).sum()),
        "rows": "score",
        "per_class": {name: {"value": auroc(values, own), "n": len(own)} for name, values in found.items()},
    }


def msp(logits: np.ndarray) -> np.ndarray:
    """Maximum softmax probability of each row of N×C: Hendrycks and Gimpel, 2017."""
    top = logits.max(axis=1, keepdims=True)
    return np.asarray(1 / np.exp(logits - top).sum(axis=1))


def energy(logits: np.ndarray) -> np.ndarray:
    """Negative free energy, ln Σ exp, of each row: Liu et al., "Energy-based Out-of-distribution Detection", 2020."""
    top = logits.max(axis=1)
    return np.asarray(top + np.log(np.exp(logits - top[:, None]).sum(axis=1)))


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a positive sample scores above another; equal scores count half (Mann and Whitney, 1947)."""
    count, rest = int(positive.sum()), int((~positive).sum())
    return (float(ranks(scores)[positive].sum()) - count * (count + 1) / 2) / (count * rest)
