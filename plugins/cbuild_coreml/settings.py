"""Settings of the Core ML backend."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import (
    Meta,
    Params,
    Parity,
    ParityCheck,
    Positive,
)

__all__ = ["CoreMlSettings"]

Size = Positive
Target = Literal["ios15", "ios16", "ios17", "ios18", "macos12", "macos13", "macos14", "macos15"]


Weights = Literal["float", "int8", "palette-1", "palette-2", "palette-3", "palette-4", "palette-6", "palette-8"]


class CoreMlSettings(Params):
    """Run on Core ML."""

    deployment_target: Annotated[Target, Meta(description="oldest system that the model must run on")] = "ios17"
    precision: Annotated[
        Literal["fp16", "fp32"],
        Meta(
            description="type of the arithmetic, and of stored weights unless `weights` says otherwise; inputs and "
            "outputs stay float32"
        ),
    ] = "fp16"
    weights: Annotated[
        Weights,
        Meta(
            description="how weights are stored: `float`; `int8`, symmetric, per output channel; or `palette-N`, 2^N "
            "values for each tensor, by k-means (`palette-3` since iOS 18)"
        ),
    ] = "float"
    weight_threshold: Annotated[
        int, Meta(ge=0, description="weights with fewer elements stay floats (for `int8` and palettes)")
    ] = 2048
    sizes: Annotated[
        dict[str, Size | Annotated[list[Size], Meta(min_length=2, max_length=2)]],
        Meta(
            description="dynamic axis → its size (`{tokens: 128}`), or its range (`{batch: [1, 8]}`); the "
            "first axis is `[1, 64]` by default, others must be named; the Neural Engine needs fixed sizes"
        ),
    ] = {}
    compute_units: Annotated[
        Literal["all", "cpu-only", "cpu-and-gpu", "cpu-and-ne"],
        Meta(description="processors of the device that may run the model"),
    ] = "all"
    parity: ParityCheck = Parity()

    def __post_init__(self) -> None:
        if self.weights == "palette-3" and self.deployment_target not in ("ios18", "macos15"):
            raise ValueError(
                "'weights: palette-3' needs 'deployment-target: ios18' or 'macos15': set it, or use 'palette-4'"
            )
