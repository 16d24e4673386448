"""A metric of the user's own, for a contract."""

from __future__ import annotations

import numpy as np


def mean(outputs, labels):
    return float(np.mean(next(iter(outputs.values()))))
