"""Perplexity of class scores: how many classes the model hesitates between."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.api import Context

from ..answers.predictions import Predictions
from ..answers.scores import classified
from .params.accuracy import Accuracy

__all__ = ["perplexity"]


def perplexity(ctx: Context, subject: Path, params: Accuracy) -> dict[str, Any]:
    """``{"value": exp(mean of -ln softmax(scores)[label]), "nll": that mean, "n": labels that count}``."""
    scores, labels = classified(Predictions.read(subject), params.output, params.ignore)
    scores = scores.astype(np.float64)
    top = scores.max(axis=1)
    spread = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
    nll = float(np.mean(spread - scores[np.arange(len(labels)), labels]))
    return {"value": math.exp(nll) if nll < 700 else math.inf, "nll": nll, "n": len(labels)}
