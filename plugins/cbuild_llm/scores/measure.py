"""Metrics of language models, from the scores of tokens."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.api import Context, UserError

from ..model.token_scores import TokenScores
from .intervals import Mean, mean_of, unless_certain
from .params.paired import Paired
from .params.perplexity import Perplexity

__all__ = ["kl_divergence", "perplexity", "perplexity_ratio", "same_top"]


def perplexity(ctx: Context, subject: Path, params: Perplexity) -> dict[str, Any]:
    """``{"value": exp(mean of -ln p(token)), "nll": that mean, "bits_per_token", "n", "interval"}``.

    ``interval``: of 95 %, for other text of the kind; on these tokens the value is exact.
    """
    scores = TokenScores.read(subject)
    nll = scores.arrays["nll"]
    mean = mean_of(nll, ctx.seed)
    return {
        **_origin(scores),
        "value": _exp(mean.value),
        "nll": mean.value,
        "bits_per_token": mean.value / math.log(2),
        "n": len(nll),
        "interval": [_exp(mean.low), _exp(mean.high)],
    }


def perplexity_ratio(ctx: Context, subject: Path, params: Paired) -> dict[str, Any]:
    """``{"value": perplexity over the source's, "low", "high", "perplexity", "source_perplexity", "n"}``."""
    scores = _both(subject)
    arrays = scores.arrays
    mean = mean_of(arrays["nll"] - arrays["source_nll"], ctx.seed)
    return {
        **_origin(scores),
        "value": _exp(mean.value),
        "low": _exp(mean.low),
        "high": _exp(mean.high),
        "perplexity": _exp(float(arrays["nll"].mean())),
        "source_perplexity": _exp(float(arrays["source_nll"].mean())),
        "n": len(arrays["nll"]),
        "block": mean.block,
    }


def kl_divergence(ctx: Context, subject: Path, params: Paired) -> dict[str, Any]:
    """``{"value": mean over tokens of KL(source ‖ model) in nats, "low", "high", "median", "p99", "max", "n"}``."""
    scores = _both(subject)
    each = scores.arrays["kl"]
    if not np.isfinite(each).all():
        raise UserError(
            "the divergence is infinite: the model rules out a token that its source gives a share",
            hint="its vocabulary may be cut, or its logits masked",
        )
    median, p99 = np.quantile(each, [0.5, 0.99])
    return {
        **_origin(scores),
        **_shown(mean_of(each, ctx.seed), len(each)),
        "median": float(median),
        "p99": float(p99),
        "max": float(each.max()),
    }


def same_top(ctx: Context, subject: Path, params: Paired) -> dict[str, Any]:
    """``{"value": share of tokens whose likeliest prediction is the source's, "low", "high", "n"}``."""
    scores = _both(subject)
    same = scores.arrays["same"]
    return {**_origin(scores), **_shown(unless_certain(mean_of(same, ctx.seed), len(same)), len(same))}


def _shown(mean: Mean, count: int) -> dict[str, Any]:
    return {"value": mean.value, "low": mean.low, "high": mean.high, "n": count, "block": mean.block}


def _origin(scores: TokenScores) -> dict[str, str]:
    """What a number is relative to, where weights come from a file of few bits."""
    return {"weights": scores.weights} if scores.weights is not None else {}


def _both(subject: Path) -> TokenScores:
    scores = TokenScores.read(subject)
    if "kl" not in scores.arrays:
        raise UserError("the scores are of one model alone", hint="name what it is compared with: 'source: MODEL'")
    return scores


def _exp(value: float) -> float:
    """UserError where the number leaves the range of floats: a model that is that wrong has no perplexity."""
    if value > 700:
        raise UserError(f"the mean of -ln p(token) is {value:.0f} nats, so the model predicts nothing")
    return math.exp(value)
