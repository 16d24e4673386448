"""TorchInductor: a torch model as native code (AOTInductor), run without Python's part of the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from compressbuild.api import Backend, Kind, Meta, Needs, Params, Parity, Platform, hookimpl

__all__ = ["InductorSettings"]

_INSTALL = "pip install 'compressbuild[torch]'"
_RUN = Needs(modules=("torch", "numpy"), install=_INSTALL)
_COMPILE = Needs(
    modules=("torch", "safetensors", "numpy"),
    programs=(("c++", "g++", "clang++", "cl"),),
    install=f"{_INSTALL}, and a C++ compiler (Debian, Ubuntu: apt-get install g++)",
)
_CUDA = Needs(
    modules=("triton",),
    libraries=(("libtorch_cuda.so", "torch_cuda.dll"),),
    gpu=True,
    install="'device: cuda' takes an NVIDIA GPU with its driver and a CUDA build of torch",
)
_TOOLS = ("torch", "numpy")
_PRELOAD = ("torch", "torch._dynamo", "torch.export", "safetensors.torch")


class InductorSettings(Params):
    """Run as native code that TorchInductor made."""

    device: Literal["cpu", "cuda"] = "cpu"
    threads: Annotated[int, Meta(ge=1, le=1024, description="threads on the CPU; the code is made for that many")] = 1
    kernel_profile: Annotated[
        bool, Meta(description="mark each kernel in the code for cbuild profile; costs about a microsecond a kernel")
    ] = False
    tf32: Annotated[
        bool, Meta(description="on a GPU: let float32 products be rounded to TensorFloat-32, which is faster")
    ] = False
    parity: Parity = Parity()

    def __post_init__(self) -> None:
        if self.kernel_profile and self.device != "cpu":
            raise ValueError(f"'kernel-profile' is for 'device: cpu', and this is {self.device}")
        if self.tf32 and self.device != "cuda":
            raise ValueError(f"'tf32' is for 'device: cuda', and this is {self.device}")

    def needs(self) -> Needs:
        return _CUDA if self.device == "cuda" else Needs()

    run_needs = needs


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="aoti-package",
        files=("model.pt2", "interface.json"),
        summary="AOTInductor package: native code and weights, with what it takes and gives in interface.json",
        validate="cbuild_inductor.package:validate",
        load="cbuild_inductor.backend:load",
        load_needs=_RUN,
        tools=_TOOLS,
        preload=_PRELOAD,
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="torch-inductor",
        summary="AOTInductor: native code for this machine's processor, or its NVIDIA GPU",
        compile="cbuild_inductor.backend:compile",
        load="cbuild_inductor.backend:load",
        profile="cbuild_inductor.profile:profile",
        settings=InductorSettings,
        consumes=("torch-model",),
        produces="aoti-package",
        qdq_scheme="u8-affine",
        tools=(*_TOOLS, "safetensors"),
        preload=_PRELOAD,
        compile_needs=_COMPILE,
        run_needs=_RUN,
        # g++ is called with -march=native.
        compile_facts=("os", "cpu.arch", "cpu.isa", "gpu.sm"),
        run_facts=("cpu.model", "cpu.isa", "gpu.name", "gpu.driver"),
        nondeterministic="the C++ compiler writes the path of the directory it works in into the package",
    )


@hookimpl
def compressbuild_platforms() -> Iterator[Platform]:
    yield Platform(
        name="native-cpu",
        backend="torch-inductor",
        summary="this very processor, as native code from TorchInductor",
        settings={"device": "cpu", "threads": 1},
    )
    yield Platform(
        name="native-cuda",
        backend="torch-inductor",
        summary="this machine's NVIDIA GPU, as native code from TorchInductor",
        settings={"device": "cuda"},
        requires={"gpu.sm": ">=sm70"},
    )
