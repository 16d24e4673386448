"""How closely a target's answers match its baseline's on the same samples, regardless of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.predictions import Predictions
from cbuild_kit.scores import left_out, output

from compressbuild.api import Context, UserError

from .params.output import Output
from .regression import decibel

__all__ = ["agreement", "cosine", "max_abs", "sqnr"]


def agreement(ctx: Context, subject: Path, params: Output) -> dict[str, Any]:
    """``{"value": share of samples whose likeliest class is the baseline's, "n", "agreeing"}``. A sample with a NaN
    on either side disagrees."""
    own, base, said = _pair(ctx, subject, params)
    if own.ndim < 2 or own.shape[-1] < 2:
        raise UserError("the output has one score per sample, so there is no likeliest class")
    sound = ~(np.isnan(own).any(axis=-1) | np.isnan(base).any(axis=-1))
    same = (own.argmax(axis=-1) == base.argmax(axis=-1)) & sound
    return {"value": float(same.mean()), "n": int(same.size), "agreeing": int(same.sum()), **said}


def cosine(ctx: Context, subject: Path, params: Output) -> dict[str, Any]:
    """``{"value": mean over samples of the cosine between output and baseline's, "least": of any sample, "n"}``. Two
    zero vectors agree, one alone does not."""
    own, base, said = _pair(ctx, subject, params)
    own, base = own.reshape(len(own), -1), base.reshape(len(base), -1)
    sizes = np.linalg.norm(own, axis=1) * np.linalg.norm(base, axis=1)
    both_zero = ~own.any(axis=1) & ~base.any(axis=1)
    each = np.divide((own * base).sum(axis=1), sizes, out=both_zero.astype(np.float64), where=sizes != 0)
    return {"value": float(each.mean()), "least": float(each.min()), "n": len(each), **said}


def sqnr(ctx: Context, subject: Path, params: Output) -> dict[str, Any]:
    """``{"value": 10 log10(Σ baseline² / Σ (output - baseline)²) dB, "n": numbers}``; 300 where they are equal."""
    own, base, said = _pair(ctx, subject, params)
    return {"value": decibel(base, own - base), "n": int(base.size), **said}


def max_abs(ctx: Context, subject: Path, params: Output) -> dict[str, Any]:
    """``{"value": largest |output - baseline|, "mean", "baseline_range": largest - least of the baseline, "n"}``."""
    own, base, said = _pair(ctx, subject, params)
    error = np.abs(own - base)
    spread = float(base.max() - base.min())
    return {
        "value": float(error.max()),
        "mean": float(error.mean()),
        "baseline_range": spread,
        "n": int(base.size),
        **said,
    }


def _pair(ctx: Context, subject: Path, params: Output) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """The output of both, and facts about others that are left out."""
    predictions, others = Predictions.read(subject), Predictions.read(ctx.artifact("baseline"))
    own, base = output(predictions, params.output), output(others, params.output)
    if own.shape != base.shape or not np.array_equal(predictions.labels, others.labels):
        raise UserError(
            f"outputs {list(own.shape)} and the baseline's {list(base.shape)} differ in shape",
            hint="both models must have the same outputs, and the loader must yield the same samples every time",
        )
    return own.astype(np.float64), base.astype(np.float64), left_out(predictions, params.output)
