"""A dataset for contracts: two batches of digits."""

from __future__ import annotations

from collections.abc import Iterator

from examples.digits.data import Batch, batches


def load() -> Iterator[Batch]:
    for images, labels in batches(0, 40):
        yield images[:20], labels[:20]
        yield images[20:], labels[20:]


def numbers() -> Iterator[Batch]:
    """Ten numbers for each digit, for metrics of regression."""
    for images, labels in load():
        yield images, images.reshape(len(labels), -1)[:, 20:30] + 1


def larger() -> Iterator[Batch]:
    """Images of another size than the models take."""
    for images, labels in load():
        yield images.repeat(2, axis=2), labels


def words() -> Iterator[Batch]:
    """For each digit ten token numbers, of three."""
    for images, labels in load():
        yield images, (images.reshape(len(labels), -1)[:, 20:30] > 0).astype("int64")


def nothing() -> Iterator[Batch]:
    yield from ()
