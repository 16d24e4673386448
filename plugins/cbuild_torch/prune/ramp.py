"""How sparsity grows over a training: Zhu & Gupta, "To prune, or not to prune", 2017, equation 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from compressbuild.api import UserError

__all__ = ["Ramp", "make_ramp"]

_POWER = {"cubic": 3, "linear": 1}


class RampParams(Protocol):
    """The parameters that say when and how sparsity grows."""

    @property
    def epochs(self) -> int: ...
    @property
    def initial(self) -> float: ...
    @property
    def ramp(self) -> Literal["cubic", "linear", "constant"]: ...
    @property
    def unit(self) -> Literal["epochs", "steps"]: ...
    @property
    def begin(self) -> float: ...
    @property
    def end(self) -> float | None: ...
    @property
    def frequency(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Ramp:
    """``begin``: t0, the update before which the first masks are made; ``every``: Δt; ``times``: n."""

    begin: int
    every: int
    times: int
    initial: float
    shape: Literal["cubic", "linear", "constant"]

    @property
    def end(self) -> int:
        """The update before which the masks change for the last time."""
        return self.begin + self.every * self.times

    def moves(self, update: int) -> bool:
        """Whether the masks are computed again before this update."""
        return self.begin <= update <= self.end and (update - self.begin) % self.every == 0

    def at(self, update: int, final: float) -> float:
        """The sparsity from this update on, for a tensor that ends at ``final``."""
        if update < self.begin:
            return 0.0
        if self.shape == "constant" or update >= self.end:
            return final
        left = 1 - (update - self.begin) / (self.every * self.times)
        return final + (min(self.initial, final) - final) * left ** _POWER[self.shape]


def make_ramp(params: RampParams, per_epoch: int) -> Ramp:
    """The ramp in updates of the weights, ``per_epoch`` to an epoch. UserError if it does not fit in the training."""
    total = params.epochs * per_epoch
    scale = per_epoch if params.unit == "epochs" else 1
    begin = round(params.begin * scale)
    end = round(0.75 * total) if params.end is None else round(params.end * scale)
    if params.end is None:
        end = max(end, min(begin + 1, total - 1))
    if not begin <= end < total:
        raise UserError(
            f"sparsity cannot grow from step {begin} to step {end}: the training has steps 0 to {total - 1}",
            hint="check 'begin', 'end' and 'unit', or train for more epochs",
        )
    every = max(1, min(round(params.frequency * scale), end - begin))
    return Ramp(begin, every, (end - begin) // every, params.initial, params.ramp)
