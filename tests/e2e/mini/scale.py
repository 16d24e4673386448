"""From pixels 0…16 to what the model takes."""

import numpy as np


def scale(pixels):
    # N×64 → N×1×8×8
    shaped = pixels.reshape(-1, 1, 8, 8)
    return (shaped / 16).astype(np.float32)
