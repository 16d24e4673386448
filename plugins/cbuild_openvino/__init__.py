"""OpenVINO: IR from ONNX, quantized by NNCF, run on Intel (and other) CPUs, GPUs and NPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from compressbuild.api import Backend, Kind, Meta, Needs, Params, Parity, Platform, Technique, hookimpl

from .params import OpenVinoCompress, OpenVinoQuantize

__all__ = ["OpenVinoSettings"]

_NEEDS = Needs(modules=("openvino", "onnx", "onnxruntime", "numpy"), install="pip install 'compressbuild[openvino]'")
_NNCF = Needs(modules=("nncf", *_NEEDS.modules), install="pip install 'compressbuild[nncf]'")
_TOOLS = ("openvino", "onnx", "onnxruntime", "numpy")


class OpenVinoSettings(Params):
    """Run on OpenVINO."""

    device: Annotated[
        str, Meta(min_length=1, description="CPU, GPU, GPU.1, NPU …; a model that ends on another one is an error")
    ] = "CPU"
    threads: Annotated[int, Meta(ge=1, le=1024, description="threads on the CPU")] = 1
    performance_hint: Annotated[
        Literal["latency", "throughput"], Meta(description="one request at a time, or as many as fill the device")
    ] = "latency"
    inference_precision: Annotated[
        Literal["f32", "f16", "bf16", "device"],
        Meta(description="what floats are computed in; 'device' leaves it to the device, which may take bf16 or f16"),
    ] = "f32"
    compress_to_fp16: Annotated[bool, Meta(description="store float weights in half precision: half the size")] = False
    parity: Parity = Parity()


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="openvino-ir",
        files=("model.xml", "model.bin"),
        summary="OpenVINO intermediate representation",
        validate="cbuild_openvino.ir:validate",
        load="cbuild_openvino.backend:load",
        load_needs=_NEEDS,
        tools=_TOOLS,
    )


@hookimpl
def compressbuild_techniques() -> Iterator[Technique]:
    for name, params in (("quantize", OpenVinoQuantize), ("compress", OpenVinoCompress)):
        yield Technique(
            name=f"openvino.{name}",
            run=f"cbuild_openvino.{name}:{name}",
            params=params,
            consumes=("onnx", "openvino-ir"),
            produces="openvino-ir",
            tools=(*_TOOLS, "nncf"),
            needs=_NNCF,
        )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="openvino",
        summary="OpenVINO: IR for Intel CPUs, GPUs and NPUs, and ARM CPUs",
        compile="cbuild_openvino.backend:compile",
        load="cbuild_openvino.backend:load",
        settings=OpenVinoSettings,
        consumes=("onnx", "openvino-ir"),
        produces="openvino-ir",
        qdq_scheme="u8-affine",
        tools=_TOOLS,
        compile_needs=_NEEDS,
        run_needs=_NEEDS,
        # The IR is the same everywhere; whether it computes what its source does is seen on one processor.
        compile_facts=("cpu.arch", "cpu.isa"),
        run_facts=("cpu.model", "cpu.isa"),
        profile="cbuild_openvino.backend:profile",
    )


@hookimpl
def compressbuild_platforms() -> Iterator[Platform]:
    yield Platform(
        name="intel-cpu",
        backend="openvino",
        summary="Intel and AMD CPUs, on OpenVINO in float32 and int8",
        settings={"device": "CPU", "threads": 1},
        requires={"cpu.arch": "x86_64"},
    )
    yield Platform(
        name="intel-cpu-amx",
        backend="openvino",
        summary="Intel servers since Sapphire Rapids (AMX), on OpenVINO in bfloat16 and int8",
        settings={"device": "CPU", "threads": 1, "inference-precision": "bf16"},
        requires={"cpu.isa": ["amx_bf16", "amx_int8"]},
    )
