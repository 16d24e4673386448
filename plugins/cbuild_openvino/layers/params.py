"""Parameters of the error of each layer."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import DatasetRef, Meta, Params, Positive

__all__ = ["IrLayerError", "IrLayerErrors"]

_Samples = Annotated[Positive, Meta(description="how many samples both models run on")]


class IrLayerErrors(Params):
    """Run a compressed OpenVINO model and its source on the same samples, and compare the output of every layer that
    both have."""

    data: Annotated[DatasetRef, Meta(description="dataset to run on; `evaluate: data` sets it")]
    samples: _Samples = 64


class IrLayerError(Params):
    """On how much data the layers are compared."""

    samples: _Samples = 64
