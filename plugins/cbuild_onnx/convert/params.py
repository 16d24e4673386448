"""Parameters of the conversions to half precision."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Amount, DatasetRef, Meta, Params

__all__ = ["ConvertBf16", "ConvertFp16"]

_BlockedOps = Annotated[tuple[str, ...], Meta(description="operator types that stay in float32")]
_BlockedNodes = Annotated[tuple[str, ...], Meta(description="globs of node names that stay in float32")]
_Checked = Annotated[DatasetRef | None, Meta(description="dataset to check on; without it, generated inputs")]
_Tolerance = Annotated[
    Amount, Meta(description="largest difference allowed, relative to the largest magnitude of each output")
]


class ConvertFp16(Params):
    """Weights and arithmetic to half precision. Half the size; faster where the hardware computes in it (GPUs)."""

    keep_io_types: Annotated[bool, Meta(description="inputs and outputs stay float32")] = True
    block_ops: _BlockedOps = ()
    block_nodes: _BlockedNodes = ()
    data: _Checked = None
    tolerance: _Tolerance = 0.02


class ConvertBf16(Params):
    """Weights and arithmetic to bfloat16: half the size, float32's range, 8 bits of precision. For TensorRT.

    Inputs and outputs stay float32.
    """

    block_ops: _BlockedOps = ()
    block_nodes: _BlockedNodes = ()
    data: _Checked = None
    tolerance: _Tolerance = 0.05
