"""Parameters of ``quantize.qat``."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Amount, Meta, ModelRef, Narrow, schemes

from ...train.params import Alpha, Epochs, LearningRate, Match, Temperature, Training
from .fields import Opset, TracedSizes

__all__ = ["SCHEMES", "QuantizeQat"]

SCHEMES = ("u8-affine", "s8-symmetric")


class QuantizeQat(Training, kw_only=True):
    """Train with simulated 8-bit weights and activations, then export to ONNX with the scales found (QDQ format).

    Batch normalisation is folded into the convolutions first, and dropout is off.
    """

    epochs: Epochs = 3
    lr: LearningRate = 1e-4
    scheme: Annotated[
        str,
        schemes(*SCHEMES),
        Meta(
            description="how scales are chosen: `u8-affine`, `s8-symmetric`, or `auto`, what the target's platform "
            "wants (`u8-affine` without a platform)"
        ),
    ] = "auto"
    reduce_range: Annotated[
        Narrow,
        Meta(
            description="7-bit weights; `auto`: where the platform's processor is an x86-64 without VNNI, which "
            "saturates products of 8 bits"
        ),
    ] = "auto"
    exclude: Annotated[tuple[str, ...], Meta(description="globs of the torch model's layers left in float")] = ()
    teacher: Annotated[
        ModelRef | None, Meta(description="a model or target that can be run, whose outputs are learnt too")
    ] = None
    alpha: Alpha = 0.7
    temperature: Temperature = 4.0
    match: Match = "kl"
    opset: Opset = 20
    sizes: TracedSizes = {}
    tolerance: Annotated[
        Amount,
        Meta(
            description="largest difference allowed between the exported model and the trained one, relative to the "
            "largest magnitude of each output"
        ),
    ] = 0.1
