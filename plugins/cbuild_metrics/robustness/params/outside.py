"""Parameters of a model's answers to data of another kind."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import DatasetRef, Meta, Params

from ...answers.fields import Batch, EvaluationData, OutputName

__all__ = ["Outside", "OutsideScores"]

_Outside = Annotated[
    DatasetRef, Meta(description="dataset of another kind; its batches are `(inputs, labels)`, labels do not matter")
]


class Outside(Params):
    """Run a model over its data and over data of another kind."""

    data: EvaluationData
    outside: _Outside
    batch: Batch = 64


class OutsideScores(Params):
    """Data that the model was not made for, and the score that separates it."""

    outside: _Outside
    score: Annotated[
        Literal["msp", "energy"],
        Meta(description="`msp`: the largest probability of the softmax; `energy`: log Σ exp of the outputs"),
    ] = "msp"
    output: OutputName = None
