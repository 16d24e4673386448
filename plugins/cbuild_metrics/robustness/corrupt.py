"""Accuracy under corrupted inputs, after Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations", 2019, for arrays of any range: a share of [0, 1] there is one of the sample's here.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import fit, fixed_batch
from cbuild_kit.predictions import Predictions
from cbuild_kit.scores import classified

from compressbuild.api import Context, UserError

from ..answers.predict import answers, joined, regrouped
from .params.corruption import Corrupt, Corruption

__all__ = ["CORRUPTIONS", "corrupted", "corruption", "predict_corrupted"]

# Of severities 1 to 5; noise, contrast and quality are those of the paper's ImageNet-C.
_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)  # standard deviation over the sample's range
_CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)  # what is left of the distance from the sample's mean
_BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the sample's range, added
_QUALITY = (25, 18, 15, 10, 7)  # of JPEG


def _noise(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    return x + _NOISE[severity - 1] * _range(x) * rng.standard_normal(x.shape)


def _contrast(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    mean = x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
    return (x - mean) * _CONTRAST[severity - 1] + mean


def _brightness(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    return x + _BRIGHTNESS[severity - 1] * _range(x)


def _blur(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Means over 3 × 3, as often as the severity says, edges repeated."""
    for _ in range(severity):
        for axis in (-2, -1):
            pad = [(0, 0)] * x.ndim
            pad[axis] = (1, 1)
            wide, size = np.pad(x, pad, mode="edge"), x.shape[axis]
            x = sum(np.take(wide, range(at, at + size), axis) for at in range(3)) / 3  # type: ignore[assignment]
    return x


def _jpeg(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Each sample through 8 bits a channel, its range being 0 … 255, and the compression, chroma halved."""
    from PIL import Image

    low, spread = x.min(axis=(1, 2, 3), keepdims=True), _range(x)
    bytes_ = np.rint((x - low) / np.where(spread > 0, spread, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    back = np.empty_like(bytes_)
    for index, image in enumerate(bytes_):
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(
            file, "JPEG", quality=_QUALITY[severity - 1]
        )
        back[index] = np.asarray(Image.open(file)).reshape(image.shape)
    return back.transpose(0, 3, 1, 2) / 255 * spread + low


CORRUPTIONS: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    "noise": _noise,
    "contrast": _contrast,
    "brightness": _brightness,
    "blur": _blur,
    "jpeg": _jpeg,
}


def _range(x: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, x.ndim))
    return x.max(axis=axes, keepdims=True) - x.min(axis=axes, keepdims=True)


_CHOOSE = "name the corruptions that suit them: {corruption: {corruptions: [noise, contrast]}}"


def corrupted(x: np.ndarray, name: str, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A batch N×… of floats, each sample by itself. ``severity``: 1 … 5. UserError for what cannot be corrupted so."""
    if x.dtype.kind != "f":
        raise UserError(f"inputs of {x.dtype} cannot be corrupted", hint="'corruption' is for images and signals")
    if name == "blur" and x.ndim < 3:
        raise UserError(f"inputs of the shape N×{list(x.shape[1:])} cannot be blurred", hint=_CHOOSE)
    if name == "jpeg" and (x.ndim != 4 or x.shape[1] not in (1, 3)):
        raise UserError(f"inputs of the shape N×{list(x.shape[1:])} are not images N×1×H×W or N×3×H×W", hint=_CHOOSE)
    return CORRUPTIONS[name](x.astype(np.float64), severity, rng).astype(x.dtype)


def predict_corrupted(ctx: Context, subject: Path, params: Corrupt) -> dict[str, Any]:
    """The subject's answers to each corruption of the dataset, as an output ``noise-3`` … of one ``predictions``."""
    runner = ctx.runner("subject")
    inputs = runner.inputs
    size = fixed_batch(inputs) or params.batch
    pieces: dict[str, list[np.ndarray]] = {}
    labels: list[np.ndarray] = []
    settings = [(name, severity) for name in params.corruptions for severity in params.severities]
    for done, feeds, chunk in regrouped(ctx.dataset(params.data), [item.name for item in inputs], size):
        for index, (name, severity) in enumerate(settings):
            rng = np.random.default_rng((ctx.seed, done, len(labels), index))
            spoilt = {key: corrupted(array, name, severity, rng) for key, array in feeds.items()}
            found = answers(runner, fit(spoilt, inputs), len(chunk), fixed_batch(inputs))
            chosen = "logits" if "logits" in found else next(iter(found))
            pieces.setdefault(f"{name}-{severity}", []).append(found[chosen])
        labels.append(chunk)
        ctx.progress(done, 0)
    if not labels:
        raise UserError("the dataset is empty", hint="a loader yields batches (inputs, labels)")
    outputs = {name: joined(f"output '{name}'", parts) for name, parts in pieces.items()}
    Predictions(outputs, joined("labels", labels)).write(ctx.out)
    return {"count": sum(map(len, labels)), "runs_on": runner.describe()}


def corruption(ctx: Context, subject: Path, params: Corruption) -> dict[str, Any]:
    """``{"value": mean accuracy over corruptions and severities, "per_class": {"noise-3": {"n", "correct"}}}``."""
    predictions = Predictions.read(subject)
    rows: dict[str, dict[str, int]] = {}
    for name in predictions.outputs:
        scores, labels = classified(predictions, name, params.ignore)
        right = (scores.argmax(axis=1) == labels) & ~np.isnan(scores).any(axis=1)
        rows[name] = {"n": len(labels), "correct": int(right.sum())}
    value = float(np.mean([row["correct"] / row["n"] for row in rows.values()]))
    return {"value": value, "rows": "corruption", "per_class": rows}
