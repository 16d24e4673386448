"""Parameters that many metrics of answers have."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import DatasetRef, Meta, Positive

__all__ = ["Batch", "EvaluationData", "Ignored", "OutputName"]

OutputName = Annotated[
    str | None,
    Meta(description="name of the output that is judged; by default `logits` if there is one, else the first"),
]
Ignored = Annotated[int, Meta(description="label that is ignored, as torch's cross entropy does")]
Batch = Annotated[Positive, Meta(description="samples per run, if the model's batch axis is dynamic")]
EvaluationData = Annotated[DatasetRef, Meta(description="dataset to run on; `evaluate: data` sets it")]
