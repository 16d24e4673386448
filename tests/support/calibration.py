"""A file of images to calibrate on."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_calibration(path: Path, images: int) -> None:
    """The first ``images`` of scikit-learn's digits, as pixels 0…16, N×64, with their labels."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    path.parent.mkdir(exist_ok=True)
    np.savez(path, images=pixels[:images], labels=labels[:images])
