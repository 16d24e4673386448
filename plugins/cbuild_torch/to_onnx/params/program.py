"""Keys of a model that is a file of ``torch.export.save``."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Amount, FileRef, Meta, Params

from .fields import Opset

__all__ = ["ExportedProgram"]


class ExportedProgram(Params):
    """A graph that `torch.export.save` wrote, converted to ONNX when it is read, and checked against torch there.

    The format can hold code. It is a legacy source: whatever of a file could run is refused, and the step that reads
    it takes the strictest sandbox that the machine has. A factory with a safetensors file can be pruned and trained as
    well; this cannot.
    """

    exported: Annotated[FileRef, Meta(description="the .pt2 file")]
    axes: Annotated[
        dict[str, str],
        Meta(
            description="symbol of a dynamic size in the file → name of that axis; by default `batch` for a first axis"
        ),
    ] = {}
    outputs: Annotated[
        tuple[str, ...],
        Meta(description="names of the outputs, in the model's order; by default those of the graph"),
    ] = ()
    opset: Opset = 20
    atol: Annotated[Amount, Meta(description="largest absolute difference from torch allowed in an output")] = 1e-4
    rtol: Annotated[Amount, Meta(description="difference allowed on top, relative to the value")] = 1e-3
