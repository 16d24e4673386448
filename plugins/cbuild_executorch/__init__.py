"""ExecuTorch: a torch model as a program for phones and boards, its operators on XNNPACK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from compressbuild.api import Backend, DatasetRef, Kind, Meta, Needs, Params, Parity, Platform, hookimpl

__all__ = ["ExecuTorchSettings"]

_NEEDS = Needs(
    modules=("executorch", "torch", "torchao", "safetensors", "numpy"),
    install="pip install 'compressbuild[executorch]'",
)
_TOOLS = ("executorch", "torch", "numpy")
_PRELOAD = ("torch", "torch._dynamo", "torch.export", "safetensors.torch", "executorch.exir")

Size = Annotated[int, Meta(ge=1)]


class ExecuTorchSettings(Params):
    """Run on ExecuTorch, with XNNPACK."""

    precision: Annotated[
        Literal["fp32", "fp16", "int8", "int8-dynamic"],
        Meta(
            description="int8: weights and activations, of ranges seen on 'data'; int8-dynamic: activations' ranges "
            "are found at run time"
        ),
    ] = "fp32"
    data: Annotated[DatasetRef, Meta(description="calibration data of int8")] | None = None
    samples: Annotated[int, Meta(ge=1, description="how many of 'data' are looked at")] = 256
    sizes: Annotated[
        dict[str, Size | Annotated[list[Size], Meta(min_length=2, max_length=2)]],
        Meta(description="dynamic axis → its size, or least and largest; the first axis is [1, 64] if not given"),
    ] = {}
    threads: Annotated[int, Meta(ge=1, le=1024, description="threads when run here")] = 1
    parity: Parity = Parity()

    def __post_init__(self) -> None:
        if self.precision == "int8" and self.data is None:
            raise ValueError("'precision: int8' needs 'data', a dataset to calibrate on (or say int8-dynamic)")
        if self.precision != "int8" and self.data is not None:
            raise ValueError(f"'data' is for 'precision: int8', and this is {self.precision}")


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="executorch-program",
        files=("model.pte", "interface.json"),
        summary="ExecuTorch program, with what it takes and gives in interface.json",
        validate="cbuild_executorch.program:validate",
        load="cbuild_executorch.runner:load",
        load_needs=_NEEDS,
        tools=_TOOLS,
        preload=_PRELOAD,
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="executorch",
        summary="ExecuTorch with XNNPACK: programs for the CPUs of phones and boards",
        compile="cbuild_executorch.backend:compile",
        load="cbuild_executorch.runner:load",
        profile="cbuild_executorch.profile:profile",
        settings=ExecuTorchSettings,
        consumes=("torch-model",),
        produces="executorch-program",
        qdq_scheme="s8-symmetric",
        tools=(*_TOOLS, "torchao", "safetensors"),
        preload=_PRELOAD,
        compile_needs=_NEEDS,
        run_needs=_NEEDS,
        # The program is the same everywhere; whether it computes what its source does is seen on one processor.
        compile_facts=("cpu.arch", "cpu.isa"),
        run_facts=("cpu.model", "cpu.isa"),
    )


@hookimpl
def compressbuild_platforms() -> Iterator[Platform]:
    yield Platform(
        name="android-arm64",
        backend="executorch",
        summary="CPUs of Android phones and ARM boards, on ExecuTorch with XNNPACK; measured on this machine's own",
        settings={"precision": "fp32", "threads": 1},
    )
