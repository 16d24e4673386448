"""Parameters of the techniques that set more and more weights to zero while training."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Amount, Meta, ModelRef, Rate, Ratio

from ...train.params import Alpha, Epochs, Temperature, Training
from .fields import IgnoredWeights, OwnShares

__all__ = ["Ramp"]


class Ramp(Training, kw_only=True):
    """A training in which the share of zeros grows."""

    epochs: Epochs = 10
    sparsity: Annotated[Ratio, Meta(description="s_f, the share of zeros at the end")] = 0.8
    initial: Annotated[Ratio, Meta(description="s_i, the share of zeros at `begin`")] = 0.0
    ramp: Annotated[
        Literal["cubic", "linear", "constant"],
        Meta(
            description="how the share grows: `cubic`, s_f + (s_i − s_f)(1 − (t − t0)/(nΔt))³; `linear`; or "
            "`constant`, s_f from `begin` on"
        ),
    ] = "cubic"
    unit: Annotated[
        Literal["epochs", "steps"],
        Meta(description="unit of `begin`, `end` and `frequency`: epochs, or steps of the optimizer"),
    ] = "epochs"
    begin: Annotated[Amount, Meta(description="t0, when the first weights go")] = 0.0
    end: Annotated[
        Rate | None,
        Meta(description="t0 + nΔt, when the last weights go; without it, after three quarters of the training"),
    ] = None
    frequency: Annotated[Rate, Meta(description="Δt, the time between two choices of the weights")] = 0.25
    overrides: OwnShares = {}
    ignore: IgnoredWeights = ()
    teacher: Annotated[
        ModelRef | None,
        Meta(description="a model or target that can be run: train on its outputs too, as `distill` does"),
    ] = None
    alpha: Alpha = 0.7
    temperature: Temperature = 4.0
