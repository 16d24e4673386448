"""Parameters of the error of each layer."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import DatasetRef, Meta, Params, Positive

__all__ = ["LayerError", "LayerErrors"]

_Samples = Annotated[Positive, Meta(description="how many samples both models run on")]


class LayerErrors(Params):
    """Run a compressed model and its source on the same samples, and compare every activation that both have."""

    data: Annotated[DatasetRef, Meta(description="dataset to run on; `evaluate: data` sets it")]
    samples: _Samples = 64


class LayerError(Params):
    """On how much data the layers are compared."""

    samples: _Samples = 64
