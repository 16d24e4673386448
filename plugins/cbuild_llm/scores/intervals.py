"""The 95 % interval of a mean over tokens: a bootstrap of blocks, since neighbouring tokens are alike.

Percentile bootstrap: Efron 1979. Blocks that do not overlap: Carlstein 1986.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from compressbuild.api import UserError

__all__ = ["Mean", "mean_of", "share_of", "unless_certain"]

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


def mean_of(values: np.ndarray, seed: int, longest: int = _BLOCK) -> Mean:
    """The mean of N numbers, one for each token, in their order. ``longest``: tokens of a block, at most.

    For a comparison the numbers are differences, or shares of agreement: so both models are drawn on the same tokens.
    """
    if len(values) < _LEAST:
        raise UserError(
            f"an interval cannot be had of {len(values)} tokens", hint="make more token ids: 'tokens:' of tokenize.text"
        )
    block = min(longest, len(values) // _LEAST)
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


def unless_certain(mean: Mean, count: int) -> Mean:
    """Of ``count`` shares between 0 and 1. Where all are 0, or all 1, resampling would claim to be certain: then the
    interval ends where ``count`` such are seen once in twenty times, at ``0.05 ** (1 / count)``."""
    most = 1 - 0.05 ** (1 / count)
    if mean.value not in (0.0, 1.0):
        return mean
    return mean._replace(low=0.0 if mean.value == 0 else 1 - most, high=most if mean.value == 0 else 1.0)


def share_of(values: np.ndarray, seed: int) -> dict[str, Any]:
    """``{"value": mean, "n"}`` of N independent shares between 0 and 1, such as prompts or questions; and from eight
    on ``"low"`` and ``"high"``, the 95 % interval."""
    found: dict[str, Any] = {"value": float(values.mean()), "n": len(values)}
    if len(values) >= _LEAST:
        mean = unless_certain(mean_of(values, seed, 1), len(values))
        found |= {"low": mean.low, "high": mean.high}
    return found
