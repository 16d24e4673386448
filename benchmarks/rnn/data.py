"""Scikit-learn's 1797 handwritten digits as sequences of eight rows: 1000 to train on, 200 to validate, 597 to test."""

from collections.abc import Iterator

import numpy as np
from sklearn.datasets import load_digits

TRAIN, VALIDATION, BATCH = 1000, 1200, 100

Batch = tuple[np.ndarray, np.ndarray]


def train() -> Iterator[Batch]:
    return batches(0, TRAIN)


def validation() -> Iterator[Batch]:
    return batches(TRAIN, VALIDATION)


def test() -> Iterator[Batch]:
    return batches(VALIDATION, None)


def batches(start: int, stop: int | None) -> Iterator[Batch]:
    """Rows N×8×8 float32 in 0…1 and labels N int64, shuffled once and for all."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))[start:stop]
    for chosen in np.array_split(order, range(BATCH, len(order), BATCH)):
        yield (images[chosen].reshape(-1, 8, 8) / 16).astype(np.float32), labels[chosen].astype(np.int64)
