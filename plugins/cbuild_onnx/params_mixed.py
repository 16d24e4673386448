"""The parameters of mixed-precision quantization."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import DatasetRef, FunctionRef, Meta

from .params import Amount, QuantizeStatic

__all__ = ["QuantizeMixed"]


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
