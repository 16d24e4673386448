"""Settings of the TorchInductor backend."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import (
    Meta,
    Needs,
    Params,
    Parity,
    ParityCheck,
)

__all__ = ["InductorSettings"]

_CUDA = Needs(
    modules=("triton",),
    libraries=(("libtorch_cuda.so", "torch_cuda.dll"),),
    gpu=True,
    install="'device: cuda' takes an NVIDIA GPU with its driver and a CUDA build of torch",
)


class InductorSettings(Params):
    """Run as native code that TorchInductor made."""

    device: Annotated[Literal["cpu", "cuda"], Meta(description="processor that the code is made for and runs on")] = (
        "cpu"
    )
    threads: Annotated[int, Meta(ge=1, le=1024, description="threads on the CPU; the code is made for this many")] = 1
    kernel_profile: Annotated[
        bool,
        Meta(
            description="with `device: cpu`: mark each kernel in the code, so that `cbuild profile` shows it; "
            "costs about a microsecond a kernel"
        ),
    ] = False
    tf32: Annotated[
        bool,
        Meta(
            description="with `device: cuda`: round float32 products to TensorFloat-32, which is faster and no "
            "longer float32"
        ),
    ] = False
    parity: ParityCheck = Parity()

    def __post_init__(self) -> None:
        if self.kernel_profile and self.device != "cpu":
            raise ValueError(f"'kernel-profile' is for 'device: cpu', and this is {self.device}")
        if self.tf32 and self.device != "cuda":
            raise ValueError(f"'tf32' is for 'device: cuda', and this is {self.device}")

    def needs(self) -> Needs:
        return _CUDA if self.device == "cuda" else Needs()

    run_needs = needs
