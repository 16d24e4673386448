"""Scikit-learn's handwritten digits, 1797 images of 8×8, in a fixed split.

1200 to train on, 100 of those to calibrate, 597 to test.
"""

from collections.abc import Iterator

import numpy as np
from sklearn.datasets import load_digits

TRAIN, CALIBRATION, BATCH = 1200, 100, 100

Batch = tuple[np.ndarray, np.ndarray]


def train() -> Iterator[Batch]:
    return batches(0, TRAIN)


def calibration() -> Iterator[Batch]:
    return batches(0, CALIBRATION)


def test() -> Iterator[Batch]:
    return batches(TRAIN, None)


def batches(start: int, stop: int | None) -> Iterator[Batch]:
    """Images N×1×8×8 float32 in 0…1 and labels N int64, shuffled once and for all."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))[start:stop]
    for chosen in np.array_split(order, range(BATCH, len(order), BATCH)):
        yield (images[chosen].reshape(-1, 1, 8, 8) / 16).astype(np.float32), labels[chosen].astype(np.int64)
