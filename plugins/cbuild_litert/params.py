"""Parameters of the techniques that make LiteRT models."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import DatasetRef, Meta, Params, Parity, ParityCheck, Positive

__all__ = ["ExportTflite", "QuantizeTflite"]

Size = Positive


class ExportTflite(Params):
    """A PyTorch model as a LiteRT model, in float32."""

    sizes: Annotated[
        dict[str, Size],
        Meta(
            description="dynamic axis → its size in the LiteRT model, whose shapes are fixed (`{tokens: 128}`); the "
            "first axis is 1 by default, others must be named"
        ),
    ] = {}
    parity: ParityCheck = Parity()


class QuantizeTflite(Params):
    """Fewer bits for a LiteRT model."""

    precision: Annotated[
        Literal["fp16", "int8-dynamic", "int8"],
        Meta(
            description="`fp16`: weights stored in float16, computed in float32; `int8-dynamic`: weights in int8, "
            "activations' ranges found at run time; `int8`: weights and activations, with ranges seen on `data`"
        ),
    ]
    data: Annotated[
        DatasetRef | None,
        Meta(description="calibration dataset, which `int8` needs; others are compared with their source on it"),
    ] = None
    samples: Annotated[Positive, Meta(description="how many samples of `data` calibrate")] = 256
    io: Annotated[
        Literal["float", "int8"],
        Meta(description="with `precision: int8`: type of the model's float inputs and outputs"),
    ] = "float"

    def __post_init__(self) -> None:
        if self.precision == "int8" and self.data is None:
            raise ValueError("'precision: int8' needs 'data', a dataset to calibrate on (or say int8-dynamic)")
        if self.precision != "int8" and self.io == "int8":
            raise ValueError(f"'io: int8' is only for 'precision: int8', but the precision is {self.precision}")
