"""Accuracy on slices of the data that the user names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.predictions import Predictions
from cbuild_kit.scores import classified

from compressbuild.api import Context, UserError

from ..answers.predict import run_over
from ..quality.accuracy import top_k
from ..quality.params.accuracy import Accuracy
from .params.slices import PredictSliced, Slices

__all__ = ["SLICE", "predict_sliced", "slices"]

SLICE = "cbuild.slice"  # the output that holds the names


def predict_sliced(ctx: Context, subject: Path, params: PredictSliced) -> dict[str, Any]:
    """The subject's answers, and as one more output the name of each sample's slice."""
    names: list[np.ndarray] = []

    def named() -> Iterator[Any]:
        for index, batch in enumerate(ctx.dataset(params.data)):
            names.append(_names(ctx, params, batch, index))
            yield batch

    runner = ctx.runner("subject")
    found = run_over(ctx, runner, named(), params.batch)
    predictions = Predictions({**found.outputs, SLICE: np.concatenate(names)}, found.labels)
    predictions.write(ctx.out)
    return {"count": len(found.labels), "runs_on": runner.describe()}


def _names(ctx: Context, params: PredictSliced, batch: Any, index: int) -> np.ndarray:
    """Strings N of one batch."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise UserError(f"batch {index} of the dataset is not a pair (inputs, labels)")
    inputs, labels = batch
    if params.by is not None:
        what, found = params.by, ctx.function(params.by)(inputs, labels)
    else:
        what = f"column '{params.column}'"
        if not isinstance(inputs, Mapping) or params.column not in inputs:
            has = ", ".join(map(str, inputs)) if isinstance(inputs, Mapping) else "one array"
            raise UserError(
                f"batch {index} of the dataset has no {what}",
                hint=f"its inputs are: {has}; a loader may yield more names than the model takes",
            )
        found = inputs[params.column]
    names = np.asarray(found).astype(str)
    if names.shape != (len(labels),):
        raise UserError(
            f"{what} gives an array {list(names.shape)} for the {len(labels)} samples of batch {index}",
            hint="one name for each sample",
        )
    return names


def slices(ctx: Context, subject: Path, params: Slices) -> dict[str, Any]:
    """``{"value": top-1 accuracy of all samples, "n", "correct", "per_class": {"night": {"n", "correct"}}}``."""
    predictions = Predictions.read(subject)
    names = predictions.outputs[SLICE]
    outputs = {name: array for name, array in predictions.outputs.items() if name != SLICE}
    rest = Predictions(outputs, predictions.labels)
    whole = top_k(rest, Accuracy(output=params.output, ignore=params.ignore), 1)
    scores, labels = classified(rest, params.output, params.ignore)
    right = (scores.argmax(axis=1) == labels) & ~np.isnan(scores).any(axis=1)
    each = np.repeat(names, predictions.labels[0].size)[predictions.labels.reshape(-1) != params.ignore]
    rows = {
        str(name): {"n": int((each == name).sum()), "correct": int(right[each == name].sum())}
        for name in np.unique(each)
    }
    return {"value": whole["value"], "n": whole["n"], "correct": whole["correct"], "rows": "slice", "per_class": rows}
