"""Parameters of a model's answers to slices of its data."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import FunctionRef, Meta, Params

from ...answers.fields import Batch, EvaluationData, Ignored, OutputName

__all__ = ["PredictSliced", "Slices"]


class _Named(Params):
    """Where the name of a sample's slice comes from. Give one of ``by`` and ``column``."""

    by: Annotated[
        FunctionRef | None,
        Meta(description="your function, `f(inputs, labels)` of a batch of the loader → a slice name for each sample"),
    ] = None
    column: Annotated[
        str | None,
        Meta(description="instead: a name in the loader's mapping of inputs, whose values name the samples' slices"),
    ] = None

    def __post_init__(self) -> None:
        if (self.by is None) == (self.column is None):
            raise ValueError("give either `by`, a function, or `column`, a name in the loader's inputs")


class PredictSliced(_Named, kw_only=True):
    """Run a model over a dataset and keep what it answers, and the slice of each sample."""

    data: EvaluationData
    batch: Batch = 64


class Slices(_Named):
    """Slices of the data, and which output is compared with which labels."""

    output: OutputName = None
    ignore: Ignored = -100
