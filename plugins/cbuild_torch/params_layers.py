"""The parameters of the techniques that replace layers."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params

__all__ = ["FactorizeLowrank", "FoldBatchnorm", "Rank", "ReplaceActivation", "ReplaceDepthwise"]

Positive = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]
Saving = Annotated[float, Meta(gt=0, lt=1)]
Energy = Annotated[float, Meta(gt=0, lt=1)]


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
