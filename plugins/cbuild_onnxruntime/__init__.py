"""ONNX Runtime: optimises a model ahead of time and runs it on one execution provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from compressbuild.api import Backend, Kind, Meta, Needs, Params, Parity, Platform, hookimpl

__all__ = ["OnnxRuntimeSettings", "OrtFormatSettings"]

_INSTALL = (
    "pip install onnxruntime (or onnxruntime-gpu, onnxruntime-directml, onnxruntime-openvino for their providers)"
)
_NEEDS = Needs(modules=("onnxruntime", "numpy"), install=_INSTALL)


def _provider(name: str, package: str, *, gpu: bool = False, others: tuple[tuple[str, ...], ...] = ()) -> Needs:
    """What a provider takes that comes as a library of its own, beside ONNX Runtime's."""
    own = (f"libonnxruntime_providers_{name}.so", f"onnxruntime_providers_{name}.dll")
    return Needs(libraries=(own, *others), gpu=gpu, install=f"pip install {package} instead of onnxruntime")


_PROVIDERS = {
    "cuda": _provider("cuda", "onnxruntime-gpu", gpu=True),
    "tensorrt": _provider(
        "tensorrt", "onnxruntime-gpu, with TensorRT 10,", gpu=True, others=(("libnvinfer.so.10", "nvinfer_10.dll"),)
    ),
    "openvino": _provider("openvino", "onnxruntime-openvino"),
    "directml": Needs(system=("Windows",), install="pip install onnxruntime-directml instead of onnxruntime"),
    "coreml": Needs(system=("Darwin",), install="onnxruntime for macOS has the provider"),
}


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
    tf32: Annotated[
        bool, Meta(description="on a GPU: let float32 products be rounded to TensorFloat-32, which is faster")
    ] = False
    cpu_fallback: Annotated[
        bool, Meta(description="let single operators that the provider lacks run on the CPU provider")
    ] = False
    save_optimized: Annotated[
        bool,
        Meta(description="publish the optimised graph (up to 'extended', so that it runs on other processors too)"),
    ] = True
    parity: Parity = Parity()

    def __post_init__(self) -> None:
        if self.tf32 and self.provider != "cuda":
            raise ValueError(f"'tf32' is for 'provider: cuda', and this is {self.provider}")

    def needs(self) -> Needs:
        return _PROVIDERS.get(self.provider, Needs())

    run_needs = needs


class OrtFormatSettings(Params):
    """Publish ONNX Runtime's own format, for the CPU."""

    threads: Annotated[int, Meta(ge=1, le=1024, description="threads within one operator")] = 1
    optimization: Annotated[
        Literal["disabled", "basic", "extended", "all"],
        Meta(
            description="what is done before it is written, for nothing is afterwards; 'all' suits this processor only"
        ),
    ] = "extended"
    parity: Parity = Parity()


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="ort-model",
        files=("model.ort",),
        summary="ONNX Runtime's flatbuffer format",
        validate="cbuild_onnxruntime.flat:validate",
        load="cbuild_onnxruntime.flat:load",
        load_needs=_NEEDS,
        tools=("onnxruntime", "numpy"),
    )
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
        profile="cbuild_onnxruntime.backend:profile",
    )
    yield Backend(
        name="onnxruntime-ort",
        summary="ONNX Runtime's .ort format, for its minimal builds on phones and boards",
        compile="cbuild_onnxruntime.flat:compile",
        load="cbuild_onnxruntime.flat:load",
        settings=OrtFormatSettings,
        consumes=("onnx",),
        produces="ort-model",
        qdq_scheme="u8-affine",
        tools=("onnxruntime", "onnx", "numpy"),
        compile_needs=_NEEDS,
        run_needs=_NEEDS,
        compile_facts=("cpu.arch", "cpu.isa"),
        run_facts=("cpu.model", "cpu.isa"),
        nondeterministic="ONNX Runtime writes its tables in the order of a hash that differs from process to process",
        profile="cbuild_onnxruntime.flat:profile",
    )


@hookimpl
def compressbuild_platforms() -> Iterator[Platform]:
    def cpu(name: str, summary: str, arch: str, isa: list[str]) -> Platform:
        requires = {"cpu.arch": arch, "cpu.isa": isa}
        return Platform(name=name, backend="onnxruntime", summary=summary, settings={"threads": 1}, requires=requires)

    yield Platform(name="cpu-any", backend="onnxruntime", summary="any CPU, on ONNX Runtime", settings={"threads": 1})
    yield cpu("cpu-x86-avx2", "x86-64 since Haswell and Zen (AVX2), on ONNX Runtime", "x86_64", ["avx2"])
    yield cpu(
        "cpu-x86-vnni",
        "x86-64 servers since Cascade Lake and Zen 4 (AVX-512 VNNI: fast int8), on ONNX Runtime",
        "x86_64",
        ["avx512_vnni"],
    )
    yield cpu(
        "arm64-server",
        "ARM servers since Neoverse V1 and N2: Graviton 3, Grace, Axion (int8 matrix products), on ONNX Runtime",
        "aarch64",
        ["asimddp", "i8mm"],
    )
    yield cpu(
        "arm64-edge",
        "ARM boards since Cortex-A76: Raspberry Pi 5, Jetson Orin (int8 dot products), on ONNX Runtime",
        "aarch64",
        ["asimddp"],
    )
    yield Platform(
        name="cuda-any",
        backend="onnxruntime",
        summary="any NVIDIA GPU, on ONNX Runtime's CUDA provider",
        settings={"provider": "cuda"},
    )
