"""Parameters of ``share.cluster``."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import DatasetRef, Meta, Positive

from ...train.params import Epochs, LearningRate, Training, WeightDecay

__all__ = ["ShareCluster"]

Bits = Annotated[int, Meta(ge=2, le=8)]


class ShareCluster(Training):
    """Let the weights of a tensor share a few values: a palette of 2^bits, found by k-means (Han et al. 2016).

    Weights of convolution, linear, attention, recurrent and embedding layers are stored as palette and indices. With
    ``data`` the palettes are trained; the gradient is summed over the weights that share a value.
    """

    data: Annotated[  # type: ignore[assignment]
        DatasetRef | None,
        Meta(description="labelled data to train the palettes on; the parameters of training are for that"),
    ] = None
    bits: Annotated[Bits, Meta(description="bits of an index: the palette has 2^bits values")] = 4
    per_channel: Annotated[bool, Meta(description="a palette for each output channel: closer, and larger")] = False
    init: Annotated[
        Literal["linear", "density"],
        Meta(
            description="how the first values are spread: `linear`, evenly over the range, which keeps rare large "
            "weights; `density`, evenly over the weights"
        ),
    ] = "linear"
    rounds: Annotated[Positive, Meta(description="largest number of rounds of k-means")] = 50
    overrides: Annotated[dict[str, Bits], Meta(description="glob of parameter names → bits of their own")] = {}
    ignore: Annotated[tuple[str, ...], Meta(description="globs of parameter names left alone")] = ()
    epochs: Epochs = 3
    lr: LearningRate = 3e-4
    weight_decay: WeightDecay = 0.0
