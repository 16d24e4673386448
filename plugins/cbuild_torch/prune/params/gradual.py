"""Parameters of ``prune.gradual``."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta

from ...train.params import Alpha, Epochs, Temperature, Training
from .fields import IgnoredWeights, OwnShares
from .ramp import Begin, End, Frequency, Initial, RampShape, Sparsity, Teacher, Unit

__all__ = ["PruneGradual"]


class PruneGradual(Training, kw_only=True):
    """Zero weights little by little while training (Zhu & Gupta 2017).

    The masks are computed from the dense weights each time, so a weight may come back. After ``end`` they stay.
    """

    epochs: Epochs = 10
    sparsity: Sparsity = 0.8
    initial: Initial = 0.0
    ramp: RampShape = "cubic"
    unit: Unit = "epochs"
    begin: Begin = 0.0
    end: End = None
    frequency: Frequency = 0.25
    masked: Annotated[
        Literal["keep", "train"],
        Meta(
            description="what weights under the mask do meanwhile: `keep` their value, or `train` on with the gradient "
            "of the masked model (Guo et al. 2016)"
        ),
    ] = "keep"
    scope: Annotated[
        Literal["global", "local"], Meta(description="`global`: rank all weights together; `local`: within each tensor")
    ] = "global"
    overrides: OwnShares = {}
    ignore: IgnoredWeights = ()
    teacher: Teacher = None
    alpha: Alpha = 0.7
    temperature: Temperature = 4.0
