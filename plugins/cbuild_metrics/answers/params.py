"""Parameters of running a model over a dataset, and what metrics of its answers share."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import (
    DatasetRef,
    Meta,
    Params,
)

__all__ = ["Ignored", "OutputName", "Predict"]

OutputName = (
    Annotated[str, Meta(description="name of the model's output; by default 'logits', or else the first")] | None
)


Ignored = Annotated[int, Meta(description="a label that is left out, as in torch's cross entropy")]


class Predict(Params):
    """Run a model over a dataset and keep what it answers."""

    data: DatasetRef
    batch: Annotated[int, Meta(ge=1, description="samples a run, where the model leaves it open")] = 64
