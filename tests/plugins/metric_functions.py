"""Functions of the user's own, for contracts."""

from __future__ import annotations

import numpy as np


def mean(outputs, labels):
    """None where there is no mean, which is no number."""
    found = float(np.mean(next(iter(outputs.values()))))
    return found if np.isfinite(found) else None


def text(tokens):
    return " ".join("abc"[token] for token in tokens)


def parity(inputs, labels):
    return ["odd" if label % 2 else "even" for label in labels]
