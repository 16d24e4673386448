"""Settings of the ExecuTorch backend."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import (
    DatasetRef,
    Meta,
    Params,
    Parity,
)

__all__ = ["ExecuTorchSettings"]

Size = Annotated[int, Meta(ge=1)]


class ExecuTorchSettings(Params):
    """Run on ExecuTorch, with XNNPACK."""

    precision: Annotated[
        Literal["fp32", "fp16", "int8", "int8-dynamic"],
        Meta(
            description="int8: weights and activations, of ranges seen on 'data'; int8-dynamic: activations' ranges "
            "are found at run time"
        ),
    ] = "fp32"
    data: Annotated[DatasetRef, Meta(description="calibration data of int8")] | None = None
    samples: Annotated[int, Meta(ge=1, description="how many of 'data' are looked at")] = 256
    sizes: Annotated[
        dict[str, Size | Annotated[list[Size], Meta(min_length=2, max_length=2)]],
        Meta(description="dynamic axis → its size, or least and largest; the first axis is [1, 64] if not given"),
    ] = {}
    threads: Annotated[int, Meta(ge=1, le=1024, description="threads when run here")] = 1
    parity: Parity = Parity()

    def __post_init__(self) -> None:
        if self.precision == "int8" and self.data is None:
            raise ValueError("'precision: int8' needs 'data', a dataset to calibrate on (or say int8-dynamic)")
        if self.precision != "int8" and self.data is not None:
            raise ValueError(f"'data' is for 'precision: int8', and this is {self.precision}")
