"""BLEU and chrF of generated text, by sacrebleu."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import require_labels
from cbuild_kit.predictions import Predictions
from cbuild_kit.scores import output
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from compressbuild.api import Context, UserError

from .params.text import Text

__all__ = ["bleu", "chrf"]


def bleu(ctx: Context, subject: Path, params: Text) -> dict[str, Any]:
    """``{"value": corpus BLEU, 0 … 100, "n": sentences, "signature": of sacrebleu}``."""
    return _scored(BLEU(), ctx, subject, params)


def chrf(ctx: Context, subject: Path, params: Text) -> dict[str, Any]:
    """``{"value": corpus chrF2, 0 … 100, "n": sentences, "signature": of sacrebleu}``."""
    return _scored(CHRF(), ctx, subject, params)


def _scored(metric: BLEU | CHRF, ctx: Context, subject: Path, params: Text) -> dict[str, Any]:
    predictions = Predictions.read(subject)
    answers, labels = output(predictions, params.output), predictions.labels
    require_labels(labels, "a metric of text")
    if answers.dtype.kind == "f" and answers.ndim == 3:
        answers = answers.argmax(axis=2)
    if answers.dtype.kind not in "iu" or answers.ndim != 2 or labels.dtype.kind not in "iu" or labels.ndim != 2:
        raise UserError(
            f"an output of {answers.dtype} {list(answers.shape)} and labels of {labels.dtype} {list(labels.shape)} are "
            "not text",
            hint="this metric needs token numbers N×T, or scores N×T×V, and labels N×T",
        )
    decode = ctx.function(params.decode)
    said = [_text(decode, row, params) for row in answers]
    wanted = [_text(decode, row, params) for row in labels]
    score = metric.corpus_score(said, [wanted])
    return {"value": float(score.score), "n": len(said), "signature": str(metric.get_signature())}


def _text(decode: Callable[[np.ndarray], Any], row: np.ndarray, params: Text) -> str:
    found = decode(row[row != params.ignore])
    if not isinstance(found, str):
        raise UserError(f"{params.decode} returned a {type(found).__name__}, not a string")
    return found
