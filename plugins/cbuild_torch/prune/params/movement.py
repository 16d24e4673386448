"""Parameters of ``prune.movement``."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Rate

from ...train.params import Alpha, Epochs, Temperature, Training
from .fields import IgnoredWeights, OwnShares
from .ramp import Begin, End, Frequency, Initial, RampShape, Sparsity, Teacher, Unit

__all__ = ["PruneMovement"]


class PruneMovement(Training, kw_only=True):
    """Zero the weights that training moves towards zero: movement pruning (Sanh et al. 2020), for fine-tuning.

    Each weight has a score that is trained along, with the gradient ∂L/∂S = ∂L/∂W · W. The lowest are masked, and may
    come back.
    """

    epochs: Epochs = 10
    sparsity: Sparsity = 0.8
    score_lr: Annotated[Rate, Meta(description="peak learning rate of the scores")] = 1e-2
    initial: Initial = 0.0
    ramp: RampShape = "cubic"
    unit: Unit = "epochs"
    begin: Begin = 0.0
    end: End = None
    frequency: Frequency = 0.25
    scope: Annotated[
        Literal["local", "global"], Meta(description="`local`: rank scores within each tensor; `global`: all together")
    ] = "local"
    overrides: OwnShares = {}
    ignore: IgnoredWeights = ()
    teacher: Teacher = None
    alpha: Alpha = 0.7
    temperature: Temperature = 4.0
