"""The parameters of weight-only quantization."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import DatasetRef, Meta, Params

__all__ = ["QuantizeWeights"]

Positive = Annotated[int, Meta(ge=1)]


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
