"""Parameters of the conversions to half precision."""

from __future__ import annotations

from compressbuild.api import (
    Amount,
    DatasetRef,
    Params,
)

__all__ = ["ConvertBf16", "ConvertFp16"]


class ConvertFp16(Params):
    """Weights and arithmetic to half precision. Half the size; faster where the hardware computes in it (GPUs).

    ``keep_io_types``: inputs and outputs stay float32. ``block_ops``, ``block_nodes``: operator types and globs of node
    names that stay in float32. ``data``: dataset to check on (default: made-up inputs). ``tolerance``: largest
    difference allowed, relative to the largest magnitude of each output.
    """

    keep_io_types: bool = True
    block_ops: tuple[str, ...] = ()
    block_nodes: tuple[str, ...] = ()
    data: DatasetRef | None = None
    tolerance: Amount = 0.02


class ConvertBf16(Params):
    """Weights and arithmetic to bfloat16: half the size, float32's range, 8 bits of precision. For TensorRT.

    Inputs and outputs stay float32. ``block_ops``, ``block_nodes``: operator types and globs of node names that stay in
    float32. ``data``: dataset to check on (default: made-up inputs). ``tolerance``: largest difference allowed,
    relative to the largest magnitude of each output.
    """

    block_ops: tuple[str, ...] = ()
    block_nodes: tuple[str, ...] = ()
    data: DatasetRef | None = None
    tolerance: Amount = 0.05
