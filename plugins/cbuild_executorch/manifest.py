"""ExecuTorch: a torch model as a program for phones and boards, its operators on XNNPACK."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import Backend, Kind, Platform, Stack, hookimpl

from .settings import ExecuTorchSettings

_RUN = Stack(
    modules=("executorch", "torch", "torchao", "safetensors", "numpy"),
    tools=("executorch", "torch", "numpy"),
    preload=("torch", "torch._dynamo", "torch.export", "safetensors.torch", "executorch.exir"),
    install="pip install 'compressbuild[executorch]'",
)
_COMPILE = _RUN.also(tools=("torchao", "safetensors"))


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="executorch-program",
        files=("model.pte", "interface.json"),
        loading=(
            "from executorch.runtime import Runtime\n"
            'program = Runtime.get().load_program(f"{directory}/model.pte")\n'
            'outputs = program.load_method("forward").execute(inputs)  # inputs: tensors, in order\n'
        ),
        summary="ExecuTorch program, with its inputs and outputs in interface.json",
        validate="cbuild_executorch.artifact:validate",
        load="cbuild_executorch.runner:load",
        stack=_RUN,
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="executorch",
        summary="ExecuTorch with XNNPACK: programs for the CPUs of phones and boards",
        compile="cbuild_executorch.compile:compile",
        load="cbuild_executorch.runner:load",
        profile="cbuild_executorch.profile:profile",
        settings=ExecuTorchSettings,
        consumes=("torch-model",),
        produces="executorch-program",
        qdq_scheme="s8-symmetric",
        stack=_COMPILE,
        # The program is the same everywhere; whether it computes what its source does is seen on one processor.
        compile_facts=("cpu.arch", "cpu.isa"),
        run_facts=("cpu.model", "cpu.isa"),
    )


@hookimpl
def compressbuild_platforms() -> Iterator[Platform]:
    yield Platform(
        name="android-arm64",
        backend="executorch",
        summary="CPUs of Android phones and ARM boards, on ExecuTorch with XNNPACK; measured on this machine's CPU",
        settings={"precision": "fp32", "threads": 1},
    )
