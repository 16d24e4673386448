"""The 95 % interval of a mean over tokens: a bootstrap of blocks, since neighbouring tokens are alike.

Percentile bootstrap: Efron 1979. Blocks that do not overlap: Carlstein 1986.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from compressbuild.api import UserError

__all__ = ["Mean", "mean_of"]

_BLOCK = 64
_LEAST = 8  # blocks
_RESAMPLES = 2000
_ROUNDS = 20


class Mean(NamedTuple):
    """``low``, ``high``: the 95 % interval. ``block``: tokens of a block that is drawn as one."""

    value: float
    low: float
    high: float
    block: int


def mean_of(values: np.ndarray, seed: int) -> Mean:
    """The mean of N numbers, one for each token, in their order.

    For a comparison the numbers are differences, or shares of agreement: so both models are drawn on the same tokens.
    """
    if len(values) < _LEAST:
        raise UserError(
            f"an interval cannot be had of {len(values)} tokens", hint="make more token ids: 'tokens:' of tokenize.text"
        )
    block = min(_BLOCK, len(values) // _LEAST)
    starts = np.arange(0, len(values), block)
    sums = np.add.reduceat(values.astype(np.float64), starts)
    counts = np.diff(np.append(starts, len(values)))
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(_ROUNDS):  # all at once would take the memory of a matrix, resamples by blocks
        drawn = generator.integers(0, len(starts), (_RESAMPLES // _ROUNDS, len(starts)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Mean(float(values.mean()), float(low), float(high), block)
