"""Parameters of ``prune.magnitude``."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params, Ratio

from .fields import IgnoredWeights, OwnShares

__all__ = ["PruneMagnitude"]


class PruneMagnitude(Params):
    """Set the weights of smallest magnitude to zero, for good. Shapes stay; use prune.channels for a faster model.

    It takes the weights of convolution, linear, attention and recurrent layers, not embeddings, norms and biases.
    """

    sparsity: Annotated[Ratio, Meta(description="share of the weights to set to zero")] = 0.5
    scope: Annotated[
        Literal["global", "local"], Meta(description="`global`: rank all weights together; `local`: within each tensor")
    ] = "global"
    overrides: OwnShares = {}
    ignore: IgnoredWeights = ()
