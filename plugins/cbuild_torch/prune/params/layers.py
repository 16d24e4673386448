"""Parameters of ``prune.layers``."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import DatasetRef, Meta, Params, Positive

from .fields import PruningLoss

__all__ = ["PruneLayers"]


class PruneLayers(Params):
    """Drop whole blocks of a transformer or residual network: fewer layers.

    Give one of ``drop``, ``keep`` and ``count``. Blocks count from 0 in the model's order.
    """

    blocks: Annotated[
        tuple[str, ...],
        Meta(
            description="globs of the blocks to choose from; without it, every member of a list or sequence that has "
            "layers of its own and gives the shape that it takes"
        ),
    ] = ()
    drop: Annotated[
        tuple[int, ...] | None, Meta(description="positions of the blocks that go, from 0; -1 is the last")
    ] = None
    keep: Annotated[tuple[int, ...] | None, Meta(description="positions of the blocks that stay")] = None
    count: Annotated[Positive | None, Meta(description="how many blocks go; `by` chooses them")] = None
    by: Annotated[
        Literal["last", "first", "spread", "output", "loss"],
        Meta(
            description="which blocks go, with `count`: the `last`; the `first`; `spread`, those between evenly spaced "
            "ones that stay; or, chosen one after the other on `data`, those that change the `output` or the task "
            "`loss` least"
        ),
    ] = "output"
    data: Annotated[DatasetRef | None, Meta(description="data for `by: output` and `by: loss`")] = None
    samples: Annotated[Positive, Meta(description="how many samples of `data` are used")] = 256
    loss: PruningLoss = None
