"""Parameters of ``export.onnx``."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Amount, DatasetRef, Meta, Params

from .fields import Opset, TracedSizes

__all__ = ["ExportOnnx"]


class ExportOnnx(Params):
    """Export to ONNX; named axes of the model's inputs become dynamic. Checked against torch through ONNX Runtime."""

    opset: Opset = 20
    outputs: Annotated[
        tuple[str, ...],
        Meta(description="names of the outputs, in the model's order; without it, as the model names them"),
    ] = ()
    sizes: TracedSizes = {}
    data: Annotated[DatasetRef | None, Meta(description="dataset to check on; without it, generated inputs")] = None
    atol: Annotated[Amount, Meta(description="largest absolute difference from torch allowed in an output")] = 1e-4
    rtol: Annotated[Amount, Meta(description="difference allowed on top, relative to the value")] = 1e-3
