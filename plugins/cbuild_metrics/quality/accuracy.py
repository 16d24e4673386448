"""Top-k accuracy: the share of samples whose label is among the k highest scores."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.predictions import Predictions
from cbuild_kit.scores import classified, left_out

from compressbuild.api import Context

from .params.accuracy import Accuracy

__all__ = ["top1", "top5", "top_k"]


def top1(ctx: Context, subject: Path, params: Accuracy) -> dict[str, Any]:
    return top_k(Predictions.read(subject), params, 1)


def top5(ctx: Context, subject: Path, params: Accuracy) -> dict[str, Any]:
    return top_k(Predictions.read(subject), params, 5)


def top_k(predictions: Predictions, params: Accuracy, k: int) -> dict[str, Any]:
    """``{"value": 0…1, "n", "correct", "k", "per_class": {"0": {"n", "correct"}}, "hits"}``.

    Scores N×…×C against integer labels N×… . Equal scores count in the order of their classes, as argmax has it; a
    sample with a NaN among its scores is wrong. ``hits``: for paired comparisons, which samples are right, as base64 of
    packed bits, the first sample in the highest bit. ``labels``: digest of the labels that count, in order,
    so that only results on the same samples are paired. Of several outputs, if none was asked for: ``output``, the one
    that counts, and ``left_out``.
    """
    scores, labels = classified(predictions, params.output, params.ignore)
    classes = scores.shape[1]
    own = scores[np.arange(len(labels)), labels][:, None]
    before = np.arange(classes)[None, :] < labels[:, None]
    rank = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    broken = np.isnan(scores).any(axis=1)
    hits = (rank < k) & ~broken
    found = {
        "value": float(hits.mean()),
        "n": len(labels),
        "correct": int(hits.sum()),
        "k": min(k, classes),
        "per_class": {
            str(label): {"n": int((labels == label).sum()), "correct": int(hits[labels == label].sum())}
            for label in np.unique(labels).tolist()
        },
        "hits": base64.b64encode(np.packbits(hits).tobytes()).decode(),
        "labels": hashlib.blake2b(labels.tobytes(), digest_size=16).hexdigest(),
    }
    found |= left_out(predictions, params.output)
    return found | ({"not_a_number": int(broken.sum())} if broken.any() else {})
