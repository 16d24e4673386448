"""Parameters that several pruning techniques have."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import FunctionRef, Meta, Ratio

__all__ = ["IgnoredWeights", "OwnShares", "PruningLoss"]

IgnoredWeights = Annotated[tuple[str, ...], Meta(description="globs of parameter names left alone")]
OwnShares = Annotated[
    dict[str, Ratio],
    Meta(description="glob of parameter names → a share of zeros of their own; the first match counts"),
]
PruningLoss = Annotated[
    FunctionRef | None,
    Meta(
        description="your own loss, `f(outputs, labels)` → scalar tensor; without it, the one that `finetune` has by "
        "default"
    ),
]
