"""Parameters of running a model over a dataset."""

from __future__ import annotations

from compressbuild.api import Params

from .fields import Batch, EvaluationData

__all__ = ["Predict"]


class Predict(Params):
    """Run a model over a dataset and keep its answers."""

    data: EvaluationData
    batch: Batch = 64
