"""The parameters of quantization-aware training."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, ModelRef, Scheme

from .params import Amount, Positive, Rate, Share, Training

__all__ = ["QuantizeQat"]


class QuantizeQat(Training, kw_only=True):
    """Train with simulated 8-bit weights and activations, then export to ONNX with the scales found (QDQ format).

    Batch normalisation is folded into the convolutions first, dropout is off. ``scheme``: how scales are chosen, by
    default as the target's platform wants. ``exclude``: globs of layer names left in float. ``teacher``: a model or
    target whose outputs are learnt too: alpha·T²·KL + (1 − alpha)·task loss. ``match``: how outputs are compared, as
    of distill. ``opset``, ``sizes``: as of export.onnx. ``tolerance``: largest difference
    allowed between the exported model and the trained one, relative to the largest
    magnitude of each output.
    """

    epochs: Positive = 3
    lr: Rate = 1e-4
    scheme: Scheme = "auto"
    exclude: tuple[str, ...] = ()
    teacher: ModelRef | None = None
    alpha: Share = 0.7
    temperature: Rate = 4.0
    match: Literal["kl", "mse", "cosine"] = "kl"
    opset: Annotated[int, Meta(ge=18)] = 20
    sizes: dict[str, Positive] = {}
    tolerance: Amount = 0.1
