"""Settings of the OpenVINO backend."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import (
    Meta,
    Params,
    Parity,
    ParityCheck,
)

__all__ = ["OpenVinoSettings"]


class OpenVinoSettings(Params):
    """Run on OpenVINO."""

    device: Annotated[
        str,
        Meta(
            min_length=1,
            description="`CPU`, `GPU`, `GPU.1`, `NPU` …; a missing device, or a fallback to another, is an error",
        ),
    ] = "CPU"
    threads: Annotated[int, Meta(ge=1, le=1024, description="threads on the CPU")] = 1
    performance_hint: Annotated[
        Literal["latency", "throughput"],
        Meta(description="`latency`: one request at a time; `throughput`: as many as fill the device"),
    ] = "latency"
    inference_precision: Annotated[
        Literal["f32", "f16", "bf16", "device"],
        Meta(
            description="what floats are computed in; `device` leaves it to the device, which may take bf16 or "
            "f16; a named precision that the device lacks is an error"
        ),
    ] = "f32"
    compress_to_fp16: Annotated[bool, Meta(description="store float weights in half precision")] = False
    parity: ParityCheck = Parity()
