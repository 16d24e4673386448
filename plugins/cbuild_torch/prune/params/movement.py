"""Parameters of ``prune.movement``."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Rate

from .ramp import Ramp

__all__ = ["PruneMovement"]


class PruneMovement(Ramp, kw_only=True):
    """Zero the weights that training moves towards zero: movement pruning (Sanh et al. 2020), for fine-tuning.

    Each weight has a score that is trained along, with the gradient ∂L/∂S = ∂L/∂W · W. The lowest are masked, and may
    come back.
    """

    score_lr: Annotated[Rate, Meta(description="peak learning rate of the scores")] = 1e-2
    scope: Annotated[
        Literal["local", "global"], Meta(description="`local`: rank scores within each tensor; `global`: all together")
    ] = "local"
