"""Parameters of ``share.layers``."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params

__all__ = ["ShareLayers"]


class ShareLayers(Params):
    """Let equal blocks share one set of parameters, as ALBERT does (Lan et al. 2020). Training keeps the sharing."""

    groups: Annotated[
        tuple[tuple[str, ...], ...],
        Meta(
            description="lists of names of modules; those of one list share, and need parameters of equal names and "
            "shapes"
        ),
    ]
    init: Annotated[
        Literal["mean", "first"],
        Meta(description="what they share at first: the `mean` of their parameters, or those of the `first`"),
    ] = "mean"
