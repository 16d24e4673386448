"""The parameters of weight sharing."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import DatasetRef, Meta, Params

from .params import Positive, Rate, Training

__all__ = ["ShareCluster", "ShareLayers"]

Bits = Annotated[int, Meta(ge=2, le=8)]


class ShareCluster(Training):
    """Let the weights of a tensor share a few values: a palette of 2^bits, found by k-means (Han et al. 2016).

    Weights of convolution, linear, attention, recurrent and embedding layers are stored as palette and indices.
    ``bits``: of an index. ``per_channel``: a palette for each output channel. ``init``: first centroids, spread evenly
    over the range (``linear``) or over the weights (``density``). ``rounds``: of k-means at most. ``overrides``: glob
    of parameter names → bits of their own. ``ignore``: globs of parameter names left alone. ``data``: train the
    centroids on it, the gradient summed over the weights that share one; the other parameters are for that training.
    """

    data: DatasetRef | None = None  # type: ignore[assignment]
    bits: Bits = 4
    per_channel: bool = False
    init: Literal["linear", "density"] = "linear"
    rounds: Positive = 50
    overrides: dict[str, Bits] = {}
    ignore: tuple[str, ...] = ()
    epochs: Positive = 3
    lr: Rate = 3e-4
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0


class ShareLayers(Params):
    """Let equal blocks share one set of parameters, as ALBERT does (Lan et al. 2020); then train, sharing is kept.

    ``groups``: lists of names of modules; those of one list must have parameters of equal names and shapes.
    ``init``: what they share at first: the mean of theirs, or the ``first`` one's.
    """

    groups: tuple[tuple[str, ...], ...]
    init: Literal["mean", "first"] = "mean"
