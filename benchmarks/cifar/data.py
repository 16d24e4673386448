"""CIFAR-10 as batches of normalised images and labels."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"
MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]
BATCH = 500

Batch = tuple[np.ndarray, np.ndarray]


def train(samples: int | None = None) -> Iterator[Batch]:
    return batches("train.npz", samples)


def test() -> Iterator[Batch]:
    return batches("test.npz", None)


def batches(name: str, samples: int | None) -> Iterator[Batch]:
    """Images N×3×32×32 float32 and labels N int64; the first ``samples``, or all."""
    with np.load(DATA / name) as file:
        images, labels = file["images"][:samples], file["labels"][:samples]
    for start in range(0, len(labels), BATCH):
        chosen = slice(start, start + BATCH)
        yield (images[chosen].astype(np.float32) / 255 - MEAN) / DEVIATION, labels[chosen].astype(np.int64)
