"""ONNX Runtime: optimises a model ahead of time and runs it on one execution provider."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import Backend, Kind, Platform, Stack, hookimpl

from .settings import OnnxRuntimeSettings, OrtFormatSettings

_INSTALL = (
    "pip install onnxruntime (or onnxruntime-gpu, onnxruntime-directml, onnxruntime-openvino for their providers)"
)
_RUN = Stack(modules=("onnxruntime", "numpy"), tools=("onnxruntime", "numpy"), install=_INSTALL)
_COMPILE = _RUN.also(tools=("onnx",))


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="ort-model",
        files=("model.ort",),
        loading=(
            "import onnxruntime\n"
            'session = onnxruntime.InferenceSession(f"{directory}/model.ort")\n'
            "outputs = session.run(None, inputs)  # inputs: name → array\n"
        ),
        summary="ONNX Runtime's flatbuffer format",
        validate="cbuild_onnxruntime.artifact:validate_flat",
        load="cbuild_onnxruntime.flat:load",
        stack=_RUN,
    )
    yield Kind(
        name="onnxruntime-model",
        files=("model.onnx",),
        loading=(
            "import onnxruntime\n"
            'session = onnxruntime.InferenceSession(f"{directory}/model.onnx")\n'
            "outputs = session.run(None, inputs)  # inputs: name → array\n"
        ),
        summary="ONNX with ONNX Runtime's own fused operators",
        validate="cbuild_onnxruntime.artifact:validate",
        load="cbuild_onnxruntime.runner:load",
        stack=_RUN,
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="onnxruntime",
        priority=100,
        summary="ONNX Runtime: optimised graph, CPU and other execution providers",
        compile="cbuild_onnxruntime.compile:compile",
        load="cbuild_onnxruntime.runner:load",
        settings=OnnxRuntimeSettings,
        consumes=("onnx",),
        produces="onnxruntime-model",
        qdq_scheme="u8-affine",
        saturates=True,
        stack=_COMPILE,
        # Fusions of quantised operators differ between architectures and instruction sets.
        compile_facts=("cpu.arch", "cpu.isa"),
        run_facts=("cpu.model", "cpu.isa", "gpu.name", "gpu.driver"),
        profile="cbuild_onnxruntime.profile:profile",
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
        saturates=True,
        stack=_COMPILE,
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
