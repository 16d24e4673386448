"""Scikit-learn's digits; the images for calibration lie in a file."""

import os

import numpy as np
from scale import scale
from sklearn.datasets import load_digits


def train():
    return _batches(0, 400)


def test():
    return _batches(400, 600)


def calibration():
    with np.load(os.path.join(os.path.dirname(__file__), "data", "calibration.npz")) as file:
        yield scale(file["images"]), file["labels"]


def _batches(start, stop):
    images, labels = load_digits(return_X_y=True)
    for first in range(start, stop, 50):
        yield scale(images[first : first + 50]), labels[first : first + 50].astype(np.int64)
