"""Settings of the Core ML backend."""

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

__all__ = ["CoreMlSettings"]

Size = Positive
Target = Literal["ios15", "ios16", "ios17", "ios18", "macos12", "macos13", "macos14", "macos15"]
Weights = Literal["float", "int8", "int4", "palette-1", "palette-2", "palette-3", "palette-4", "palette-6", "palette-8"]
_USUAL = 17
_AHEAD = {"ios": 0, "macos": 3}
"""What an iOS number is more than that of the macOS of the same year, up to 18 and 15."""


class CoreMlSettings(Params):
    """Run on Core ML."""

    deployment_target: Annotated[
        Target | None,
        Meta(
            description="oldest system that the model must run on; `ios17` by default, `ios18` for what needs it: "
            "`int4`, `palette-3`, and `sparse` with other weights than floats"
        ),
    ] = None
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
            description="how weights are stored: `float`; `int8`, symmetric, per output channel; `int4`, symmetric, "
            "per block of `block-size`; or `palette-N`, 2^N values for each tensor, by k-means"
        ),
    ] = "float"
    weight_threshold: Annotated[
        int,
        Meta(ge=0, description="weights with fewer elements stay floats (for `int8`, `int4`, palettes and `sparse`)"),
    ] = 2048
    block_size: Annotated[
        int, Meta(ge=2, le=4096, description="with `weights: int4`: how many inputs of an output channel share a scale")
    ] = 32
    sparse: Annotated[
        bool,
        Meta(
            description="store weights that are zero in half of their elements or more, as pruning makes them, as a "
            "mask and the rest; with `int8` or a palette, the rest is stored as `weights` says"
        ),
    ] = False
    activations: Annotated[
        Literal["float", "int8"],
        Meta(
            description="`int8`, with `weights: int8`: the inputs of convolutions and linear layers too, symmetric, "
            "per tensor, with ranges seen on `data`"
        ),
    ] = "float"
    data: Annotated[
        DatasetRef | None,
        Meta(
            description="calibration dataset, which `activations: int8` needs; on a Mac, the package is compared on it"
        ),
    ] = None
    samples: Annotated[Positive, Meta(description="how many samples of `data` calibrate")] = 256
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

    @property
    def target(self) -> str:
        """The oldest system, as coremltools names it: ``iOS17``."""
        system, number = _system(self.deployment_target or f"ios{max(_USUAL, self._least[0])}")
        return {"ios": "iOS", "macos": "macOS"}[system] + str(number)

    @property
    def quantized(self) -> bool:
        """Whether it computes in integers."""
        return self.activations == "int8"

    @property
    def _least(self) -> tuple[int, str]:
        """The first iOS that has all that is asked for, and what asks for it. https://apple.github.io/coremltools:
        *Optimizing Models*, and the MIL operators of each version."""
        joint = self.sparse and self.weights != "float"
        needed = {
            f"weights: {self.weights}": {"float": 15, "int4": 18, "palette-3": 18}.get(self.weights, 16),
            "activations: int8": 17 if self.quantized else 15,
            f"sparse: true' with 'weights: {self.weights}" if joint else "sparse: true": 18 if joint else 16,
        }
        if not self.sparse:
            needed.popitem()
        return max((number, what) for what, number in needed.items())

    def __post_init__(self) -> None:
        self._check_together()
        number, what = self._least
        if self.deployment_target is None:
            return
        system, asked = _system(self.deployment_target)
        if asked + _AHEAD[system] < number:
            raise ValueError(
                f"'{what}' needs 'deployment-target: ios{number}' or 'macos{number - _AHEAD['macos']}', but it is "
                f"'{self.deployment_target}': raise it, or store the weights in another way"
            )

    def _check_together(self) -> None:
        if self.quantized and self.weights != "int8":
            raise ValueError(f"'activations: int8' needs 'weights: int8', but they are '{self.weights}'")
        if self.quantized and self.data is None:
            raise ValueError("'activations: int8' needs 'data', a dataset to calibrate on")
        if self.sparse and (self.weights == "int4" or self.quantized):
            raise ValueError(
                "'sparse: true' goes with weights of floats, 'int8' or palettes, and with float activations"
            )


def _system(target: str) -> tuple[str, int]:
    """``ios17`` → ("ios", 17)."""
    name = target.rstrip("0123456789")
    return name, int(target[len(name) :])
