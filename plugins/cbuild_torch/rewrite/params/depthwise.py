"""Parameters of ``replace.depthwise``."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, Params, Positive

__all__ = ["ReplaceDepthwise"]


class ReplaceDepthwise(Params):
    """Replace k×k convolutions by a depthwise and a pointwise one, initialised from the original by SVD."""

    multiplier: Annotated[
        Positive,
        Meta(description="depthwise filters for each input channel; as many singular values of each are kept"),
    ] = 1
    layers: Annotated[tuple[str, ...], Meta(description="globs of the convolutions to replace")] = ("*",)
    ignore: Annotated[tuple[str, ...], Meta(description="globs of convolutions left alone")] = ()
