"""ONNX Runtime: optimises a model ahead of time and runs it on one execution provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from compressbuild.api import Backend, Kind, Meta, Needs, Params, Parity, hookimpl

__all__ = ["OnnxRuntimeSettings"]

_INSTALL = (
    "pip install onnxruntime (or onnxruntime-gpu, onnxruntime-directml, onnxruntime-openvino for their providers)"
)
_NEEDS = Needs(modules=("onnxruntime", "numpy"), install=_INSTALL)


class OnnxRuntimeSettings(Params):
    """Run on ONNX Runtime."""

    threads: Annotated[int, Meta(ge=1, le=1024, description="threads within one operator")] = 1
    optimization: Annotated[
        Literal["disabled", "basic", "extended", "all"],
        Meta(description="graph optimisation level of the session; 'all' adds layouts made for this very processor"),
    ] = "all"
    provider: Annotated[
        Literal["cpu", "cuda", "tensorrt", "directml", "coreml", "openvino"],
        Meta(description="execution provider; a session that ends on another one is an error"),
    ] = "cpu"
    cpu_fallback: Annotated[
        bool, Meta(description="let single operators that the provider lacks run on the CPU provider")
    ] = False
    save_optimized: Annotated[
        bool,
        Meta(description="publish the optimised graph (up to 'extended', so that it runs on other processors too)"),
    ] = True
    parity: Parity = Parity()


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="onnxruntime-model",
        files=("model.onnx",),
        summary="ONNX with ONNX Runtime's own fused operators",
        validate="cbuild_onnxruntime.backend:validate",
        load="cbuild_onnxruntime.backend:load",
        load_needs=_NEEDS,
        tools=("onnxruntime", "numpy"),
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="onnxruntime",
        summary="ONNX Runtime: optimised graph, CPU and other execution providers",
        compile="cbuild_onnxruntime.backend:compile",
        load="cbuild_onnxruntime.backend:load",
        settings=OnnxRuntimeSettings,
        consumes=("onnx",),
        produces="onnxruntime-model",
        qdq_scheme="u8-affine",
        tools=("onnxruntime", "onnx", "numpy"),
        compile_needs=_NEEDS,
        run_needs=_NEEDS,
        # Fusions of quantised operators differ between architectures and instruction sets.
        compile_facts=("cpu.arch", "cpu.isa"),
        run_facts=("cpu.model", "cpu.isa", "gpu.name", "gpu.driver"),
    )
