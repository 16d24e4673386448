"""Parameters of ``prune.gradual``."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta

from .ramp import Ramp

__all__ = ["PruneGradual"]


class PruneGradual(Ramp, kw_only=True):
    """Zero weights little by little while training (Zhu & Gupta 2017).

    The masks are computed from the dense weights each time, so a weight may come back. After `end` they stay.
    """

    masked: Annotated[
        Literal["keep", "train"],
        Meta(
            description="what weights under the mask do meanwhile: `keep` their value, or `train` on with the gradient "
            "of the masked model (Guo et al. 2016)"
        ),
    ] = "keep"
    scope: Annotated[
        Literal["global", "local"], Meta(description="`global`: rank all weights together; `local`: within each tensor")
    ] = "global"
