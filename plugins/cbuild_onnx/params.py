"""The parameters of this plugin's techniques."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import DatasetRef, Meta, Params, Scheme

__all__ = ["ConvertBf16", "ConvertFp16", "QuantizeDynamic", "QuantizeStatic"]

Positive = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]


class QuantizeDynamic(Params):
    """Weights to 8 bits; activations are quantized while running, so no data is needed. For transformers and MLPs.

    ``op_types``: operators quantized (Gemm is rewritten as MatMul; convolutions become several times slower this way).
    ``exclude``: globs of node names left alone. ``reduce_range``: 7-bit weights, for CPUs without VNNI.
    """

    weights: Literal["int8", "uint8"] = "int8"
    per_channel: bool = True
    op_types: tuple[str, ...] = ("MatMul", "Gemm")
    exclude: tuple[str, ...] = ()
    reduce_range: bool = False


class QuantizeStatic(Params):
    """Weights and activations to 8 bits, with scales calibrated on data (QDQ format).

    ``scheme``: how scales are chosen, by default as the target's platform wants. ``activations``: a type that the
    scheme allows (16 bits: exacter, no faster than float on CPUs). ``method``: what a scale is fitted to;
    ``percentile`` applies to that method. ``samples``: how many are used, in batches of ``batch_size``. ``op_types``:
    operators quantized (default: every one that can be). ``exclude``: globs of node names left alone.
    ``reduce_range``: 7-bit weights, for CPUs without VNNI.
    ``smooth``: SmoothQuant's alpha (0.5 is usual): how much of the range of activations after LayerNormalization moves
    into the weights.
    """

    data: DatasetRef
    scheme: Scheme = "auto"
    activations: Literal["auto", "uint8", "int8", "uint16", "int16"] = "auto"
    per_channel: bool = True
    method: Literal["minmax", "entropy", "percentile"] = "minmax"
    percentile: Annotated[float, Meta(gt=50, le=100)] = 99.999
    samples: Positive = 512
    batch_size: Positive = 32
    op_types: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    reduce_range: bool = False
    smooth: Annotated[float, Meta(ge=0, le=1)] | None = None


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
