"""Parameters of the techniques that replace layers or let them share weights."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import (
    Amount,
    DatasetRef,
    Meta,
    Params,
    Positive,
    Rate,
)

from ..train.params import Training

__all__ = [
    "FactorizeLowrank",
    "FoldBatchnorm",
    "Rank",
    "ReplaceActivation",
    "ReplaceDepthwise",
    "ShareCluster",
    "ShareLayers",
]

Saving = Annotated[float, Meta(gt=0, lt=1)]


Energy = Annotated[float, Meta(gt=0, lt=1)]


Bits = Annotated[int, Meta(ge=2, le=8)]


class Rank(Params):
    """How many singular values are kept; give one.

    ``ratio``: share of the layer's MACs to save. ``energy``: the least rank that keeps this share of the squared
    singular values. ``rank``: that many.
    """

    ratio: Saving | None = None
    energy: Energy | None = None
    rank: Positive | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.ratio, self.energy, self.rank)) > 1:
            raise ValueError("give one of ratio, energy and rank")


class FactorizeLowrank(Rank):
    """Factor linear and convolution layers into two thinner ones each, by truncated SVD.

    One of ``ratio`` (default 0.5: share of each layer's MACs to save), ``energy`` (the least rank that keeps this share
    of the squared singular values) and ``rank``. ``convolution``: k×k → k×1 then 1×k (``spatial``, Jaderberg et al.
    2014), k×k to few channels then 1×1 (``channel``, Denton et al. 2014), or whichever loses less (``auto``).
    ``round_to``: ranks are a multiple of this. ``layers``: globs of the layers to factor. ``ignore``: those left alone.
    ``overrides``: glob of layer names → a rank of their own, as ``{energy: 0.9}``.
    """

    convolution: Literal["auto", "spatial", "channel"] = "auto"
    round_to: Positive = 1
    layers: tuple[str, ...] = ("*",)
    ignore: tuple[str, ...] = ()
    overrides: dict[str, Rank] = {}


class FoldBatchnorm(Params):
    """Fold each batch normalisation into the convolution or linear layer before it: fewer layers, the same outputs.

    ``ignore``: globs of batch normalisation layers left alone. ``atol``, ``rtol``: allowed difference of each output.
    """

    ignore: tuple[str, ...] = ()
    atol: Amount = 1e-4
    rtol: Amount = 1e-3


class ReplaceActivation(Params):
    """Replace activations by ones that are cheaper or that the hardware can fuse; a finetune recovers what is lost.

    ``map``: class of torch.nn (or of the model's own) → class of torch.nn, as ``{GELU: ReLU}``. ``ignore``: globs of
    layers left alone.
    """

    map: Annotated[dict[str, str], Meta(min_length=1)]
    ignore: tuple[str, ...] = ()


class ReplaceDepthwise(Params):
    """Replace k×k convolutions by a depthwise and a pointwise one, initialised from the original by SVD.

    ``multiplier``: depthwise filters per input channel; that many singular values of each are kept. ``layers``: globs
    of the convolutions to replace. ``ignore``: those left alone.
    """

    multiplier: Positive = 1
    layers: tuple[str, ...] = ("*",)
    ignore: tuple[str, ...] = ()


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
