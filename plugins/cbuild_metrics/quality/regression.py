"""Numbers against numbers: mean squared error, signal-to-noise ratio, correlation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import require_labels
from cbuild_kit.predictions import Predictions
from cbuild_kit.scores import output

from compressbuild.api import Context, UserError

from .params.output import Output

__all__ = ["mse", "pearson", "ranks", "snr", "spearman"]


def mse(ctx: Context, subject: Path, params: Output) -> dict[str, Any]:
    """``{"value": mean squared error against the labels, "rmse", "mae", "n"}``."""
    found, wanted = _pair(subject, params)
    error = found - wanted
    value = float(np.mean(error**2))
    return {"value": value, "rmse": math.sqrt(value), "mae": float(np.mean(np.abs(error))), "n": found.size}


def snr(ctx: Context, subject: Path, params: Output) -> dict[str, Any]:
    """``{"value": 10 log10(Σ label² / Σ (output - label)²) dB, "n"}``; 300 where there is no error."""
    found, wanted = _pair(subject, params)
    return {"value": decibel(wanted, found - wanted), "n": found.size}


def pearson(ctx: Context, subject: Path, params: Output) -> dict[str, Any]:
    """``{"value": correlation of outputs and labels, "n"}``."""
    found, wanted = _pair(subject, params)
    return {"value": _correlation(found, wanted), "n": found.size}


def spearman(ctx: Context, subject: Path, params: Output) -> dict[str, Any]:
    """``{"value": Pearson correlation of the ranks, equal values sharing the mean of theirs, "n"}``."""
    found, wanted = _pair(subject, params)
    return {"value": _correlation(ranks(found), ranks(wanted)), "n": found.size}


LOUDEST = 300.0  # dB: more than double precision can tell apart


def decibel(signal: np.ndarray, noise: np.ndarray) -> float:
    """10 log10 of the ratio of energies, within ±300."""
    power, rest = float(np.sum(signal**2)), float(np.sum(noise**2))
    if math.isnan(power) or math.isnan(rest):
        return math.nan
    if rest == 0:
        return LOUDEST
    return max(-LOUDEST, min(LOUDEST, 10 * math.log10(power / rest))) if power else -LOUDEST


def _pair(subject: Path, params: Output) -> tuple[np.ndarray, np.ndarray]:
    predictions = Predictions.read(subject)
    found, labels = output(predictions, params.output), predictions.labels
    require_labels(labels, "a metric of numbers")
    if found.size != labels.size or found.shape[0] != labels.shape[0]:
        raise UserError(
            f"an output {list(found.shape)} does not fit labels {list(labels.shape)}",
            hint="this metric needs one number for each label; its 'output' chooses another output",
        )
    return found.reshape(-1).astype(np.float64), labels.reshape(-1).astype(np.float64)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """NaN where one of them is constant: there is nothing to follow."""
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    return float(np.clip(float(a @ b) / size, -1, 1)) if size else math.nan


def ranks(values: np.ndarray) -> np.ndarray:
    """1 for the least; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[place]
