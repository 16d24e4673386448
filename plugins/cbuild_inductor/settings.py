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
    install="'device: cuda' needs an NVIDIA GPU with its driver and a CUDA build of torch",
)


class InductorSettings(Params):
    """Run as native code that TorchInductor made."""

    device: Annotated[
        Literal["cpu", "cuda"], Meta(description="processor that the code is compiled for and runs on")
    ] = "cpu"
    threads: Annotated[int, Meta(ge=1, le=1024, description="CPU threads; the code is compiled for this number")] = 1
    kernel_profile: Annotated[
        bool,
        Meta(
            description="with `device: cpu`: mark each kernel in the code, so that `cbuild profile` shows it; "
            "adds about a microsecond per kernel"
        ),
    ] = False
    tf32: Annotated[
        bool,
        Meta(
            description="with `device: cuda`: round float32 products to TensorFloat-32, which is faster but less exact"
        ),
    ] = False
    parity: ParityCheck = Parity()

    def __post_init__(self) -> None:
        if self.kernel_profile and self.device != "cpu":
            raise ValueError(f"'kernel-profile' is only for 'device: cpu', but the device is {self.device}")
        if self.tf32 and self.device != "cuda":
            raise ValueError(f"'tf32' is only for 'device: cuda', but the device is {self.device}")

    def needs(self) -> Needs:
        return _CUDA if self.device == "cuda" else Needs()

    run_needs = needs
