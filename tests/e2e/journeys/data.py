"""Scikit-learn's handwritten digits, enlarged to 32×32: 1200 to train on, 100 of those to calibrate, 597 to test."""

from collections.abc import Iterator

import numpy as np
from sklearn.datasets import load_digits

TRAIN, CALIBRATION, BATCH, SCALE = 1200, 100, 100, 4


def train() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return batches(0, TRAIN)


def calibration() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return batches(0, CALIBRATION)


def test() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return batches(TRAIN, None)


def batches(start: int, stop: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    images, labels = load_digits(return_X_y=True)
    large = np.kron(images.reshape(-1, 1, 8, 8), np.ones((SCALE, SCALE))) / 16
    order = np.random.default_rng(0).permutation(len(labels))[start:stop]
    for chosen in np.array_split(order, range(BATCH, len(order), BATCH)):
        yield large[chosen].astype(np.float32), labels[chosen].astype(np.int64)
