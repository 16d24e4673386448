"""Parameters of ``prune.recurrent``."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params, Positive, Ratio

__all__ = ["PruneRecurrent"]


class PruneRecurrent(Params):
    """Prune LSTM, GRU and RNN layers: remove whole hidden units, or zero recurrent weights."""

    mode: Annotated[
        Literal["units", "weights"],
        Meta(
            description="`units`: smaller tensors, and the layers that follow lose the columns; `weights`: zeros in "
            "tensors of the same size"
        ),
    ] = "units"
    ratio: Annotated[Ratio, Meta(description="share of the units, or of the weights, to remove")] = 0.5
    round_to: Annotated[
        Positive, Meta(description="keep the nearest multiple of this many units, at least one multiple")
    ] = 8
    scope: Annotated[
        Literal["local", "global"], Meta(description="`local`: rank weights within each tensor; `global`: over all")
    ] = "local"
    input_weights: Annotated[
        bool, Meta(description="zero weights on the layer's input too, not only those on its state")
    ] = False
    overrides: Annotated[
        dict[str, Ratio], Meta(description="glob of recurrent layers → a ratio of their own; the first match counts")
    ] = {}
    ignore: Annotated[tuple[str, ...], Meta(description="globs of recurrent layers left alone")] = ()
