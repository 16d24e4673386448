"""Parameters of the techniques that end in ONNX."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import (
    Amount,
    DatasetRef,
    Meta,
    ModelRef,
    Params,
    Positive,
    Rate,
    Scheme,
    Share,
)

from ..train.params import Match, Training

__all__ = ["ExportOnnx", "QuantizeQat"]


class ExportOnnx(Params):
    """Export to ONNX; named axes of the model's inputs become dynamic. Checked against torch through ONNX Runtime.

    ``outputs``: names of the outputs, in the model's order (default: as the model names them). ``sizes``: axis name →
    size used for tracing. ``data``: dataset to check on (default: made-up inputs).
    ``atol``, ``rtol``: allowed difference of each output from torch's.
    """

    opset: Annotated[int, Meta(ge=18)] = 20
    outputs: tuple[str, ...] = ()
    sizes: dict[str, Positive] = {}
    data: DatasetRef | None = None
    atol: Amount = 1e-4
    rtol: Amount = 1e-3


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
    match: Match | dict[str, Match] = "kl"
    opset: Annotated[int, Meta(ge=18)] = 20
    sizes: dict[str, Positive] = {}
    tolerance: Amount = 0.1
