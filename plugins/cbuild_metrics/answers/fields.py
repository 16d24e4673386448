"""Parameters that many metrics of answers have."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import DatasetRef, Meta, Positive

__all__ = ["Batch", "EvaluationData", "Ignored", "OutputName"]

OutputName = Annotated[
    str | None, Meta(description="name of the model's output to judge; without it `logits`, or else the first")
]
Ignored = Annotated[int, Meta(description="a label that is left out, as in torch's cross entropy")]
Batch = Annotated[Positive, Meta(description="samples in a run, where the model leaves it open")]
EvaluationData = Annotated[DatasetRef, Meta(description="dataset to run over; it comes from `evaluate: data`")]
