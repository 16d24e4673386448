"""Accuracy under adversarial examples that are made on a torch model and given to the artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cbuild_kit.predictions import Examples, Predictions

from compressbuild.api import Context, UserError

from ..answers.predict import run_over
from ..quality.accuracy import top_k
from ..quality.params.accuracy import Accuracy
from .params.attacks import Attacked, FgsmAccuracy, PgdAccuracy

__all__ = ["fgsm", "pgd", "predict_examples"]


def predict_examples(ctx: Context, subject: Path, params: Attacked) -> dict[str, Any]:
    """The subject's answers to examples made before, in their order."""
    examples = Examples.read(ctx.artifact("examples"))
    runner = ctx.runner("subject")
    names, inputs = [item.name for item in runner.inputs], dict(examples.inputs)
    if len(names) == len(inputs) == 1:  # whatever each model calls it
        inputs = {names[0]: next(iter(inputs.values()))}
    elif set(names) - set(inputs):
        raise UserError(
            f"the examples were made for a model with the inputs {', '.join(inputs)}, not {', '.join(names)}",
            hint="name a 'surrogate' that has the same inputs",
        )
    predictions = run_over(ctx, runner, [(inputs, examples.labels)], params.batch)
    predictions.write(ctx.out)
    return {"count": len(predictions.labels), "runs_on": runner.describe()}


def fgsm(ctx: Context, subject: Path, params: FgsmAccuracy) -> dict[str, Any]:
    return _attacked(Predictions.read(subject), params)


def pgd(ctx: Context, subject: Path, params: PgdAccuracy) -> dict[str, Any]:
    return _attacked(Predictions.read(subject), params)


def _attacked(predictions: Predictions, params: FgsmAccuracy | PgdAccuracy) -> dict[str, Any]:
    """``{"value": accuracy at the largest eps, "n": samples, "per_class": {"eps 0.03": {"n", "correct"}}}``."""
    count = len(predictions.labels) // len(params.eps)
    rows = {}
    for index, eps in enumerate(params.eps):
        part = slice(index * count, (index + 1) * count)
        outputs = {name: array[part] for name, array in predictions.outputs.items()}
        found = top_k(Predictions(outputs, predictions.labels[part]), Accuracy(output=params.output), 1)
        rows[f"eps {eps:.4g}"] = {"n": found["n"], "correct": found["correct"]}
    worst = rows[f"eps {max(params.eps):.4g}"]
    return {"value": worst["correct"] / worst["n"], "n": count, "rows": "attack", "per_class": rows}
