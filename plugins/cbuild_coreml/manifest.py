"""Core ML: a torch model as an ML program for iPhones, iPads and Macs; made on any machine, run on macOS."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import Backend, Kind, Needs, Platform, Stack, hookimpl

from .settings import CoreMlSettings

_INSTALL = "pip install 'compressbuild[coreml]'"
_STACK = Stack(
    modules=("coremltools", "torch", "torchao", "safetensors", "numpy"),
    tools=("coremltools", "torch", "numpy"),
    preload=("torch", "torch._dynamo", "torch.export", "safetensors.torch", "coremltools"),
    install=_INSTALL,
)
_COMPILE = Needs(system=("Linux", "Darwin"), install=_INSTALL)
_RUN = Needs(system=("Darwin",), install=f"{_INSTALL}, on a Mac")


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="coreml-package",
        files=("model.mlpackage/Manifest.json", "model.mlpackage/Data/com.apple.CoreML/model.mlmodel"),
        loading=(
            "import coremltools\n"
            'model = coremltools.models.MLModel(f"{directory}/model.mlpackage")\n'
            "outputs = model.predict(inputs)  # inputs: name → array\n"
        ),
        summary="Core ML package: an ML program and its weights",
        validate="cbuild_coreml.artifact:validate",
        load="cbuild_coreml.runner:load",
        stack=_STACK,
        needs=_RUN,
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="coreml",
        summary="Core ML: ML programs for iPhones, iPads and Macs",
        compile="cbuild_coreml.compile:compile",
        load="cbuild_coreml.runner:load",
        settings=CoreMlSettings,
        consumes=("torch-model",),
        produces="coreml-package",
        stack=_STACK.also(tools=("torchao", "safetensors")),
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
