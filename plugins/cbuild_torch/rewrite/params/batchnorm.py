"""Parameters of ``fold.batchnorm``."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Amount, Meta, Params

__all__ = ["FoldBatchnorm"]


class FoldBatchnorm(Params):
    """Fold each batch normalisation into the convolution or linear layer before it: fewer layers, the same outputs."""

    ignore: Annotated[tuple[str, ...], Meta(description="globs of batch normalisation layers left alone")] = ()
    atol: Annotated[Amount, Meta(description="largest absolute difference allowed in an output")] = 1e-4
    rtol: Annotated[Amount, Meta(description="difference allowed on top, relative to the value")] = 1e-3
