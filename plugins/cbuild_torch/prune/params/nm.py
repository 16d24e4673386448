"""Parameters of ``prune.nm``."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, Params, Positive

from .fields import IgnoredWeights

__all__ = ["PruneNm"]


class PruneNm(Params):
    """Zero all but the ``n`` largest of every ``m`` weights in a row along the input (2:4 for sparse tensor cores).

    Layers whose input is not a multiple of ``m`` are left alone.
    """

    n: Annotated[Positive, Meta(description="weights kept of each group")] = 2
    m: Annotated[int, Meta(ge=2, description="neighbours along the input axis that form a group")] = 4
    ignore: IgnoredWeights = ()
