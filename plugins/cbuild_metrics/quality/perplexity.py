"""Perplexity of class scores: how many classes the model hesitates between."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import require_labels
from cbuild_kit.predictions import Predictions
from cbuild_kit.scores import classified, output

from compressbuild.api import Context, UserError

from .params.accuracy import Perplexity

__all__ = ["perplexity"]


def perplexity(ctx: Context, subject: Path, params: Perplexity) -> dict[str, Any]:
    """``{"value": exp(mean of -ln softmax(scores)[label]), "nll": that mean, "n": labels that count}``.

    UserError for labels that are a copy of an input, unless ``shift`` is given: a position's scores are for the token
    that follows.
    """
    predictions = Predictions.read(subject)
    if params.shift:
        predictions = _shifted(predictions, output(predictions, params.output))
    elif predictions.labels_of is not None:
        raise UserError(
            f"the labels are a copy of the input '{predictions.labels_of}', so each position would be judged by the "
            "token that it was given",
            hint="compare with the next token: 'shift: true'; or let the loader shift the labels",
        )
    scores, labels = classified(predictions, None if params.shift else params.output, params.ignore)
    scores = scores.astype(np.float64)
    top = scores.max(axis=1)
    spread = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
    nll = float(np.mean(spread - scores[np.arange(len(labels)), labels]))
    return {"value": math.exp(nll) if nll < 700 else math.inf, "nll": nll, "n": len(labels)}


def _shifted(predictions: Predictions, scores: np.ndarray) -> Predictions:
    labels = predictions.labels
    require_labels(labels, "perplexity")
    if labels.ndim < 2 or scores.shape[:-1] != labels.shape or labels.shape[1] < 2:
        raise UserError(
            f"'shift: true' is for scores N×T×V and labels N×T of at least two tokens; they are {list(scores.shape)} "
            f"and {list(labels.shape)}"
        )
    return Predictions({"scores": scores[:, :-1]}, labels[:, 1:])
