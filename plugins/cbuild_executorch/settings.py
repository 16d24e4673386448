"""Settings of the ExecuTorch backend."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import (
    DatasetRef,
    Meta,
    Params,
    Parity,
    ParityCheck,
    Positive,
)

__all__ = ["ExecuTorchSettings"]

Size = Positive


class ExecuTorchSettings(Params):
    """Run on ExecuTorch, with XNNPACK."""

    precision: Annotated[
        Literal["fp32", "fp16", "int8", "int8-dynamic"],
        Meta(
            description="`fp16`: computed in float16; `int8`: weights (per output channel) and activations, "
            "with ranges seen "
            "on `data`; `int8-dynamic`: linear layers and convolutions, with activations' ranges found at run time"
        ),
    ] = "fp32"
    data: Annotated[DatasetRef | None, Meta(description="calibration dataset, which `int8` needs")] = None
    samples: Annotated[Positive, Meta(description="how many samples of `data` are used")] = 256
    sizes: Annotated[
        dict[str, Size | Annotated[list[Size], Meta(min_length=2, max_length=2)]],
        Meta(
            description="dynamic axis → its size (`{tokens: 128}`), or its range (`{batch: [1, 8]}`); the "
            "first axis is `[1, 64]` by default, others must be named"
        ),
    ] = {}
    threads: Annotated[int, Meta(ge=1, le=1024, description="threads when it runs on this machine")] = 1
    parity: ParityCheck = Parity()

    def __post_init__(self) -> None:
        if self.precision == "int8" and self.data is None:
            raise ValueError("'precision: int8' needs 'data', a dataset to calibrate on (or say int8-dynamic)")
        if self.precision != "int8" and self.data is not None:
            raise ValueError(f"'data' is only for 'precision: int8', but the precision is {self.precision}")
