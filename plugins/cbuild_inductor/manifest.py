"""TorchInductor: a torch model as native code (AOTInductor), run without Python's part of the model."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import Backend, Kind, Needs, Platform, Stack, hookimpl

from .settings import InductorSettings

_INSTALL = "pip install 'compressbuild[torch]'"
_RUN = Stack(
    modules=("torch", "numpy"),
    tools=("torch", "numpy"),
    preload=("torch", "torch._dynamo", "torch.export", "safetensors.torch"),
    install=_INSTALL,
)
_COMPILE = Needs(
    modules=("safetensors",),
    programs=(("c++", "g++", "clang++", "cl"),),
    install=f"{_INSTALL}, and a C++ compiler (Debian, Ubuntu: apt-get install g++)",
)


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="aoti-package",
        files=("model.pt2", "interface.json"),
        loading=(
            "import torch\n"
            'model = torch._inductor.aoti_load_package(f"{directory}/model.pt2")\n'
            "outputs = model(*inputs)  # inputs: tensors, in order\n"
        ),
        summary="AOTInductor package: native code and weights, with its inputs and outputs in interface.json",
        validate="cbuild_inductor.artifact:validate",
        load="cbuild_inductor.runner:load",
        stack=_RUN,
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="torch-inductor",
        summary="AOTInductor: native code for this machine's processor, or its NVIDIA GPU",
        compile="cbuild_inductor.compile:compile",
        load="cbuild_inductor.runner:load",
        profile="cbuild_inductor.profile:profile",
        settings=InductorSettings,
        consumes=("torch-model",),
        produces="aoti-package",
        qdq_scheme="u8-affine",
        stack=_RUN.also(tools=("safetensors",)),
        compile_needs=_COMPILE,
        # g++ is called with -march=native.
        compile_facts=("os", "cpu.arch", "cpu.isa", "gpu.sm"),
        run_facts=("cpu.model", "cpu.isa", "gpu.name", "gpu.driver"),
        nondeterministic="the C++ compiler writes the path of its working directory into the package",
    )


@hookimpl
def compressbuild_platforms() -> Iterator[Platform]:
    yield Platform(
        name="native-cpu",
        backend="torch-inductor",
        summary="this machine's processor, as native code from TorchInductor",
        settings={"device": "cpu", "threads": 1},
    )
    yield Platform(
        name="native-cuda",
        backend="torch-inductor",
        summary="this machine's NVIDIA GPU, as native code from TorchInductor",
        settings={"device": "cuda"},
        requires={"gpu.sm": ">=sm70"},
    )
