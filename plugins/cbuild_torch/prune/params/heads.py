"""Parameters of ``prune.heads``."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import DatasetRef, Meta, Params, Positive, Ratio

from .fields import PruningLoss

__all__ = ["PruneHeads"]


class PruneHeads(Params):
    """Remove whole attention heads from the tensors, least important first (Michel et al. 2019)."""

    ratio: Annotated[Ratio, Meta(description="share of the heads to remove")] = 0.5
    criterion: Annotated[
        Literal["weight", "gradient"],
        Meta(
            description="what ranks a head: `weight`, the L2 norm of its weights; `gradient`, the mean of "
            "|Att · ∂L/∂Att| over samples of `data`, which estimates how the loss would change without it"
        ),
    ] = "weight"
    scope: Annotated[
        Literal["global", "local"],
        Meta(description="`global`: rank heads over all layers; `local`: within each; every layer keeps at least one"),
    ] = "global"
    overrides: Annotated[
        dict[str, Ratio], Meta(description="glob of attention layers → a ratio of their own; the first match counts")
    ] = {}
    ignore: Annotated[tuple[str, ...], Meta(description="globs of attention layers left alone")] = ()
    data: Annotated[DatasetRef | None, Meta(description="labelled data, which `gradient` needs")] = None
    samples: Annotated[Positive, Meta(description="how many samples of `data` are used")] = 256
    loss: PruningLoss = None
