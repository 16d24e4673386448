"""Parameters of ``prune.channels``."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Count, DatasetRef, Meta, Params, Positive, Rate, Ratio

from .fields import PruningLoss

__all__ = ["PruneChannels"]


class PruneChannels(Params):
    """Remove whole channels, following dependencies through the graph (DepGraph, Fang et al. 2023): smaller tensors.

    Attention layers, and layers that make the outputs, are always left alone.
    """

    ratio: Annotated[Ratio, Meta(description="share of channels to remove")] = 0.5
    criterion: Annotated[
        Literal["l1", "l2", "taylor", "bn-scale"],
        Meta(
            description="what ranks a channel: `l1` or `l2`, a norm of its weights; `taylor`, gradient × weight, which "
            "needs `data`; `bn-scale`, the factor of its batch normalisation"
        ),
    ] = "l2"
    scope: Annotated[
        Literal["local", "global"], Meta(description="`local`: rank channels within each layer; `global`: over all")
    ] = "local"
    max_ratio: Annotated[Ratio, Meta(description="largest share of one layer to remove")] = 0.9
    round_to: Annotated[
        Positive,
        Meta(
            description="keep the nearest multiple of this many channels that the layer's groups divide, at least one; "
            "odd widths often run slower"
        ),
    ] = 8
    overrides: Annotated[dict[str, Ratio], Meta(description="glob of layer names → a ratio of their own")] = {}
    ignore: Annotated[tuple[str, ...], Meta(description="globs of layer names left alone")] = ()
    steps: Annotated[Positive, Meta(description="number of rounds; channels are ranked again before each")] = 1
    data: Annotated[
        DatasetRef | None, Meta(description="labelled data, for `taylor` and for the recovery between rounds")
    ] = None
    samples: Annotated[Positive, Meta(description="number of samples of `data` for `taylor`")] = 256
    recover_epochs: Annotated[
        Count, Meta(description="epochs of training between two rounds, as `finetune` does it; 0: none")
    ] = 0
    recover_lr: Annotated[Rate, Meta(description="peak learning rate of that training")] = 3e-4
    recover_batch_size: Annotated[Positive, Meta(description="batch size of that training")] = 64
    loss: PruningLoss = None
