"""Answers of no model, for metrics: small arrays as ``predictions`` and ``examples``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from cbuild_kit.predictions import Examples, Predictions
from cbuild_metrics.robustness.slices import SLICE

from . import subjects

__all__ = ["examples", "predictions"]

COUNT = 40
RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((COUNT, 10)).astype(np.float32)
CLASSES = RNG.integers(0, 10, COUNT)
TOKENS = RNG.integers(0, 3, (COUNT, 10))
CASES = np.array([[case, 0] for case in range(7)])

# name → outputs, labels
ANSWERS = {
    "classes": ({"logits": LOGITS}, CLASSES),
    "fewer": ({"logits": LOGITS[:, :5]}, CLASSES % 5),
    "numbers": ({"logits": LOGITS}, LOGITS + 1),
    "rows": ({"logits": LOGITS}, LOGITS[:, :3]),
    "text": ({"logits": TOKENS}, TOKENS[::-1]),
    "lost": ({"logits": np.full_like(LOGITS, np.nan)}, CLASSES),
    "corrupted": ({"noise-1": LOGITS}, CLASSES),
    "mixed": ({"logits": LOGITS}, CLASSES % 2),
    "flat": ({"logits": LOGITS[:, 0]}, CLASSES % 2),
    "edges": ({"logits": LOGITS[:7]}, CASES),
    "other-edges": ({"logits": LOGITS[:7, :5]}, CASES),
    "sliced": ({"logits": LOGITS, SLICE: np.where(CLASSES > 4, "high", "low")}, CLASSES),
    "sliced-numbers": ({"logits": LOGITS, SLICE: np.where(CLASSES > 4, "high", "low")}, LOGITS),
}


@cache
def predictions(name: str) -> Path:
    out = subjects.place() / f"answers-{name}"
    out.mkdir()
    Predictions(*ANSWERS[name]).write(out)
    return out


@cache
def examples() -> Path:
    """Images to predict on."""
    out = subjects.place() / "examples"
    out.mkdir()
    Examples({"image": RNG.standard_normal((20, 1, 8, 8)).astype(np.float32)}, CLASSES[:20]).write(out)
    return out
