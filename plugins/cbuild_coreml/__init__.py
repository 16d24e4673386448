"""Core ML: a torch model as an ML program for iPhones, iPads and Macs; made on any machine, run on macOS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from compressbuild.api import Backend, Kind, Meta, Needs, Params, Parity, Platform, hookimpl

__all__ = ["CoreMlSettings"]

_MODULES = ("coremltools", "torch", "safetensors", "numpy")
_INSTALL = "pip install 'compressbuild[coreml]'"
_COMPILE = Needs(modules=_MODULES, system=("Linux", "Darwin"), install=_INSTALL)
_RUN = Needs(modules=_MODULES, system=("Darwin",), install=f"{_INSTALL}, on a Mac")
_TOOLS = ("coremltools", "torch", "numpy")
_PRELOAD = ("torch", "torch._dynamo", "torch.export", "safetensors.torch", "coremltools")

Size = Annotated[int, Meta(ge=1)]
Target = Literal["ios15", "ios16", "ios17", "ios18", "macos12", "macos13", "macos14", "macos15"]
Weights = Literal["float", "int8", "palette-1", "palette-2", "palette-3", "palette-4", "palette-6", "palette-8"]


class CoreMlSettings(Params):
    """Run on Core ML."""

    deployment_target: Annotated[Target, Meta(description="oldest system that it is to run on")] = "ios17"
    precision: Annotated[
        Literal["fp16", "fp32"], Meta(description="what is computed in; inputs and outputs stay as the model's")
    ] = "fp16"
    weights: Annotated[
        Weights,
        Meta(description="how weights are stored: int8 per output channel, or a palette of 2^N values (k-means)"),
    ] = "float"
    weight_threshold: Annotated[
        int, Meta(ge=0, description="weights of fewer elements are stored as floats (int8 and palettes)")
    ] = 2048
    sizes: Annotated[
        dict[str, Size | Annotated[list[Size], Meta(min_length=2, max_length=2)]],
        Meta(description="dynamic axis → its size, or least and largest; the first axis is [1, 64] if not given"),
    ] = {}
    compute_units: Annotated[
        Literal["all", "cpu-only", "cpu-and-gpu", "cpu-and-ne"], Meta(description="what may run it, where it is run")
    ] = "all"
    parity: Parity = Parity()

    def __post_init__(self) -> None:
        if self.weights == "palette-3" and self.deployment_target not in ("ios18", "macos15"):
            raise ValueError("'weights: palette-3' needs 'deployment-target: ios18' or macos15, or take palette-4")


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="coreml-package",
        files=("model.mlpackage/Manifest.json", "model.mlpackage/Data/com.apple.CoreML/model.mlmodel"),
        summary="Core ML package: an ML program and its weights",
        validate="cbuild_coreml.package:validate",
        load="cbuild_coreml.runner:load",
        load_needs=_RUN,
        tools=_TOOLS,
        preload=_PRELOAD,
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="coreml",
        summary="Core ML: ML programs for iPhones, iPads and Macs",
        compile="cbuild_coreml.backend:compile",
        load="cbuild_coreml.runner:load",
        settings=CoreMlSettings,
        consumes=("torch-model",),
        produces="coreml-package",
        tools=(*_TOOLS, "safetensors"),
        preload=_PRELOAD,
        compile_needs=_COMPILE,
        run_needs=_RUN,
        compile_facts=("os",),  # on macOS it is run and compared, too
        run_facts=("cpu.model", "os"),
    )


@hookimpl
def compressbuild_platforms() -> Iterator[Platform]:
    for name, system in (("ios17", "iPhones and iPads since iOS 17"), ("macos14", "Macs since macOS 14")):
        yield Platform(
            name=name,
            backend="coreml",
            summary=f"{system}, on Core ML in float16",
            settings={"deployment-target": name, "precision": "fp16"},
        )
