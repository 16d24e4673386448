"""Parameters of the techniques that set more and more weights to zero while training."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Amount, Meta, ModelRef, Rate, Ratio

__all__ = ["Begin", "End", "Frequency", "Initial", "RampShape", "Sparsity", "Teacher", "Unit"]

Sparsity = Annotated[Ratio, Meta(description="s_f, the share of zeros at the end")]
Initial = Annotated[Ratio, Meta(description="s_i, the share of zeros at `begin`")]
RampShape = Annotated[
    Literal["cubic", "linear", "constant"],
    Meta(
        description="how the share grows: `cubic`, s_f + (s_i − s_f)(1 − (t − t0)/(nΔt))³; `linear`; or `constant`, "
        "s_f from `begin` on"
    ),
]
Unit = Annotated[
    Literal["epochs", "steps"],
    Meta(description="unit of `begin`, `end` and `frequency`: epochs, or steps of the optimizer"),
]
Begin = Annotated[Amount, Meta(description="t0, when the first weights go")]
End = Annotated[
    Rate | None,
    Meta(description="t0 + nΔt, when the last weights go; without it, after three quarters of the training"),
]
Frequency = Annotated[Rate, Meta(description="Δt, the time between two choices of the weights")]
Teacher = Annotated[
    ModelRef | None,
    Meta(description="a model or target that can be run: train on its outputs too, as `distill` does"),
]
