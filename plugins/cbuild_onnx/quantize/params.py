"""Parameters of the quantizers."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import (
    Amount,
    DatasetRef,
    FunctionRef,
    Meta,
    Params,
    Positive,
    schemes,
)

__all__ = ["SCHEMES", "QuantizeDynamic", "QuantizeMixed", "QuantizeStatic", "QuantizeWeights"]

SCHEMES = ("u8-affine", "s8-symmetric")


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
    scheme: Annotated[str, schemes(*SCHEMES)] = "auto"
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


class QuantizeMixed(QuantizeStatic):
    """Static quantization that leaves in float the layers that cost too much accuracy, found by measuring each.

    ``metric``: ``top1`` (first output, last axis), or ``sqnr``, the signal-to-noise ratio of the outputs against the
    float model's. ``max_drop``: how much lower the metric may be. ``min_sqnr``: for ``sqnr``, in decibels instead.
    ``score``: a metric of your own, ``f(outputs, labels)`` → number, higher is better; outputs: name → array.
    ``validation``: dataset to measure on (default: ``data``). ``layers``: operators tried one by one. The rest as of
    quantize.static.
    """

    metric: Literal["top1", "sqnr"] = "top1"
    max_drop: Amount = 0.005
    min_sqnr: Annotated[float, Meta(gt=0)] = 20.0
    score: FunctionRef | None = None
    validation: DatasetRef | None = None
    layers: tuple[str, ...] = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class QuantizeWeights(Params):
    """Weights alone to 4 or 8 bits, in blocks with a scale each; activations and arithmetic stay float.

    ``bits``: of a weight. ``block_size``: inputs that share a scale. ``symmetric``: no zero points. ``method``: ``rtn``
    rounds to nearest, ``hqq`` fits zero points (Badri & Shaji 2023), ``gptq`` (Frantar et al. 2022) mends each rounding
    in the weights not yet rounded and needs ``data``, of which it uses ``samples`` in batches of ``batch_size``.
    ``op_types``: of MatMul, Gemm and (8 bits, a scale per output channel) Conv, LSTM, GRU, RNN. ``exclude``: globs of
    node names left alone. ``format``: ``nbits``, ONNX Runtime's own operator; ``qdq``, standard DequantizeLinear (opset
    21).
    """

    bits: Literal[4, 8] = 4
    block_size: Literal[16, 32, 64, 128, 256] = 32
    symmetric: bool = False
    method: Literal["rtn", "hqq", "gptq"] = "rtn"
    data: DatasetRef | None = None
    samples: Positive = 128
    batch_size: Positive = 32
    op_types: tuple[Literal["MatMul", "Gemm", "Conv", "LSTM", "GRU", "RNN"], ...] = ("MatMul", "Gemm")
    exclude: tuple[str, ...] = ()
    format: Literal["nbits", "qdq"] = "nbits"
