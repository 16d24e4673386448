"""Parameters of ``factorize.lowrank``."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params, Positive

__all__ = ["FactorizeLowrank", "Rank"]


Fraction = Annotated[float, Meta(gt=0, lt=1)]


class Rank(Params):
    """How many singular values are kept; give one."""

    ratio: Annotated[
        Fraction | None,
        Meta(description="share of each layer's MACs to save; 0.5 if none of `ratio`, `energy` and `rank` is given"),
    ] = None
    energy: Annotated[
        Fraction | None,
        Meta(description="instead: keep the least rank that holds this share of the squared singular values"),
    ] = None
    rank: Annotated[Positive | None, Meta(description="instead: keep this many singular values")] = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.ratio, self.energy, self.rank)) > 1:
            raise ValueError("give one of ratio, energy and rank")


class FactorizeLowrank(Rank):
    """Factor linear and convolution layers into two thinner ones each, by truncated SVD."""

    convolution: Annotated[
        Literal["auto", "spatial", "channel"],
        Meta(
            description="a k×k convolution becomes k×1 then 1×k (`spatial`, Jaderberg et al. 2014), k×k to few "
            "channels then 1×1 (`channel`, Denton et al. 2014), or whichever loses less at the same cost (`auto`; with "
            "`energy`, whichever costs less)"
        ),
    ] = "auto"
    round_to: Annotated[Positive, Meta(description="ranks are a multiple of this; 8 suits most hardware")] = 1
    layers: Annotated[tuple[str, ...], Meta(description="globs of the layers to factor")] = ("*",)
    ignore: Annotated[tuple[str, ...], Meta(description="globs of layers left alone")] = ()
    overrides: Annotated[
        dict[str, Rank], Meta(description="glob of layer names → a rank of their own, as `{energy: 0.9}`")
    ] = {}
