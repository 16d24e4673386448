"""Parameters of a model's answers to corrupted images."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params

from ...answers.fields import Batch, EvaluationData, Ignored, OutputName

__all__ = ["Corrupt", "Corruption"]

_Corruptions = Annotated[
    tuple[Literal["noise", "contrast", "brightness", "blur", "jpeg"], ...],
    Meta(min_length=1, description="corruptions, each applied on its own"),
]
_Severities = Annotated[
    tuple[Annotated[int, Meta(ge=1, le=5)], ...],
    Meta(min_length=1, description="severities of each corruption, from 1 to 5"),
]
_ALL_CORRUPTIONS = ("noise", "contrast", "brightness", "blur", "jpeg")


class Corrupt(Params):
    """Run a model over corruptions of a dataset and keep what it answers."""

    data: EvaluationData
    batch: Batch = 64
    corruptions: _Corruptions = _ALL_CORRUPTIONS
    severities: _Severities = (1, 3, 5)


class Corruption(Params):
    """Which corruptions, which output is compared with the labels, and which labels count."""

    corruptions: _Corruptions = _ALL_CORRUPTIONS
    severities: _Severities = (1, 3, 5)
    output: OutputName = None
    ignore: Ignored = -100
