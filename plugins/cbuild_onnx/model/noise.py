"""The energies of an activation and of what is wrong with it, added up over batches of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from cbuild_kit import arrays, batches, fit, fixed_batch

from compressbuild.api import Context, DatasetRef, ModelInput, UserError

__all__ = ["SILENT", "Pair", "Sums", "decibels", "rescaled", "rows", "summed"]

SILENT = 300.0  # decibels: no noise but that of float32
_UNBOUNDED = 1e30  # masks add the least float, or minus infinity
_ROUNDING = 1e-10  # of the power: what float32 leaves, which differs from run to run
_DEAD = 1e-6  # of the largest channel's energy
_LIKE, _GAIN = 0.99, 1.25  # the same but for factors of the channels


class Sums:
    """``axis``: that of the channels, of every activation that is added."""

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self._power = self._noise = 0.0
        self._made = self._own = self._rounded = np.zeros(1)

    def add(self, wanted: np.ndarray, got: np.ndarray, made: np.ndarray, rounded: np.ndarray | None) -> None:
        """The source's activation, the compressed model's, what the source's layer makes of the compressed model's
        inputs, and that as the compressed model would store it; None where it stores floats. Of one shape."""
        whole = np.abs(wanted) < _UNBOUNDED  # false for NaN
        whole &= (np.abs(got) < _UNBOUNDED) & (np.abs(made) < _UNBOUNDED)
        zero = np.zeros((), np.float32)
        wanted, got, made = (np.where(whole, each, zero) for each in (wanted, got, made))
        self._power += float(np.sum(np.square(wanted, dtype=np.float64)))
        self._noise += float(np.sum(np.square(np.subtract(got, wanted, dtype=np.float64))))
        self._made = self._made + self._energy(made)
        self._own = self._own + self._energy(np.subtract(got, made, dtype=np.float64))
        if rounded is not None:
            difference = np.subtract(np.where(whole, rounded, zero), made, dtype=np.float64)
            self._rounded = self._rounded + self._energy(difference)

    def _energy(self, values: np.ndarray) -> np.ndarray:
        """Of each channel."""
        if values.ndim < 2:
            return np.sum(np.square(values, dtype=np.float64), keepdims=True).reshape(1)
        others = tuple(place for place in range(values.ndim) if place != self._axis % values.ndim)
        return np.asarray(np.sum(np.square(values, dtype=np.float64), axis=others))

    @property
    def sqnr(self) -> float:
        """Decibels of the source's activation over the difference from it."""
        return decibels(self._power, self._noise)

    @property
    def own(self) -> float:
        """Decibels of what the layer should have made of its inputs over the difference from it."""
        return decibels(float(self._made.sum()), float(self._own.sum()))

    @property
    def lost(self) -> float:
        """0 to 1: how much of its channels' signal the layer's own noise hides, each channel alike."""
        return self._hidden(self._own)

    @property
    def rounding(self) -> float:
        """As ``lost``, of rounding the output to what it is stored as."""
        return self._hidden(self._rounded)

    def _hidden(self, noise: np.ndarray) -> float:
        alive = self._made > _DEAD * float(self._made.max())
        if not alive.any():
            return 0.0
        noise = np.broadcast_to(noise, self._made.shape)
        shares = noise[alive] / self._made[alive]
        return float(np.mean(np.where(shares > _ROUNDING, np.minimum(shares, 1.0), 0.0)))


class Pair(Protocol):
    """Two models that are run on the same samples."""

    inputs: Sequence[ModelInput]

    def ready(self, first: Mapping[str, np.ndarray]) -> int:
        """Choose what is compared by a first run; returns how many samples a run may have."""

    def add(self, batch: Mapping[str, np.ndarray], sums: dict[str, Sums]) -> None:
        """Run both, and add what is compared to ``sums``, by name."""


def summed(ctx: Context, pair: Pair, data: DatasetRef, samples: int) -> tuple[dict[str, Sums], int]:
    """What two models differ by on at most so many samples of a dataset, and on how many they ran. UserError if a batch
    of fixed size takes more than there are."""
    columns, labels = arrays(ctx.dataset(data), [item.name for item in pair.inputs], limit=samples)
    columns, fixed = fit(columns, pair.inputs), fixed_batch(pair.inputs)
    total = len(labels) - len(labels) % fixed if fixed else len(labels)
    if total == 0:
        raise UserError(
            f"the model takes batches of {fixed}, the data has {len(labels)} samples",
            hint="give it more data, raise 'samples', or export the model for a batch of any size",
        )
    columns, labels = {name: column[:total] for name, column in columns.items()}, labels[:total]
    size = pair.ready(next(batches(columns, labels, fixed or 1))[0])
    sums: dict[str, Sums] = {}
    done = 0
    for batch, chosen in batches(columns, labels, fixed or size):
        pair.add(batch, sums)
        done += len(chosen)
        ctx.progress(done, total)
    return sums, total


def rows(sums: Mapping[str, Sums], made: Mapping[str, tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """The rows of a ``layers.json``: activation → its numbers. ``made``: the node and the operators that make each."""
    found: dict[str, dict[str, Any]] = {}
    whole = sum(each.lost for each in sums.values())
    for name, each in sums.items():
        numbers = {"sqnr": each.sqnr, "own": each.own, "lost": each.lost, "rounding": each.rounding}
        numbers["share"] = each.lost / whole if whole else 0.0
        node, op = made[name]
        found[name] = {"node": node, "op": op, **{key: round(value, 4) for key, value in numbers.items()}}
    return found


def decibels(power: float, noise: float) -> float:
    """10 log10(power / noise), between -:data:`SILENT` and :data:`SILENT`, which stands for no noise but float32's."""
    if noise <= _ROUNDING * power:
        return SILENT
    if power <= 0:
        return -SILENT
    return max(-SILENT, min(SILENT, 10 * math.log10(power / noise)))


def rescaled(got: np.ndarray, wanted: np.ndarray, axis: int) -> bool:
    """Whether an activation is its source's but for a factor of each channel, and many factors are not near 1: a step
    has moved scales between layers, so a difference is no error."""
    if got.ndim < 2:
        return False
    a, b = (np.moveaxis(np.nan_to_num(each.astype(np.float64)), axis, -1) for each in (got, wanted))
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    products, own, other = (a * b).sum(0), (a * a).sum(0), (b * b).sum(0)
    alive = (own > 0) & (other > 0)
    if not alive.any() or len(a) < 2:
        return False
    like = products[alive] / np.sqrt(own[alive] * other[alive])
    gain = products[alive] / other[alive]
    if np.median(like) < _LIKE or (gain <= 0).any():
        return False
    return float(np.median(np.abs(np.log(gain)))) > math.log(_GAIN)
