"""TensorRT: engines from ONNX, for RTX cards ahead of time (no GPU needed) and for the GPU at hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from compressbuild.api import Backend, FileRef, Kind, Meta, Needs, Params, Platform, hookimpl

__all__ = ["EngineSettings", "TensorRTRTXSettings", "TensorRTSettings"]

_RTX_INSTALL = (
    "pip install 'compressbuild[tensorrt-rtx]' (TensorRT-RTX for Linux or Windows; its engines run on RTX GPUs)"
)
_RTX_RUN = "running an engine needs an NVIDIA RTX GPU of its compute capability, with a driver"
_INSTALL = (
    "the standard TensorRT builds only on the GPU it builds for: on a machine with an NVIDIA GPU and its driver, "
    "pip install 'compressbuild[tensorrt]'; with no GPU here, use the backend tensorrt-rtx, which cross-compiles"
)
_CUDA = (("libcuda.so.1", "nvcuda.dll"),)  # comes with the driver
_NVINFER = (("libnvinfer.so.11", "libnvinfer.so.10", "nvinfer_11.dll", "nvinfer_10.dll"),)


class EngineSettings(Params):
    """What the two TensorRT backends share.

    ``profiles`` gives the range of each dynamic axis: ``{batch: [1, 8, 64]}`` is [minimum, optimum, maximum] for the
    axis of that name, or for the dynamic axes of the input of that name; ``{image: [[1, 3, 8, 8], [8, 3, 8, 8],
    [64, 3, 8, 8]]}`` gives whole shapes (for an input that is itself a shape: its values). The first axis of an input,
    if dynamic and not named here, is [1, 8, 64].
    """

    profiles: Annotated[
        dict[str, list[int | list[int]]],
        Meta(description="axis or input name → [min, opt, max]; a dynamic first axis is [1, 8, 64] unless named"),
    ] = {}
    flags: Annotated[
        tuple[str, ...],
        Meta(description="builder flags by name (sparse-weights, strict-nans …); 'no-' before a name clears it"),
    ] = ()
    workspace: Annotated[int, Meta(ge=1, description="bytes of GPU memory that a layer may use")] | None = None
    optimization_level: Annotated[int, Meta(ge=0, le=5, description="0: fastest build … 5: fastest engine")] | None = (
        None
    )


class TensorRTRTXSettings(EngineSettings, kw_only=True):
    """Cross-compile for NVIDIA RTX GPUs."""

    compute_capability: Annotated[
        str | list[str],
        Meta(description="GPU architectures the engine is for: sm86, or [sm86, sm89, sm120]; 'current' needs a GPU"),
    ]

    def capabilities(self) -> tuple[str, ...]:
        """What is asked for, each once, as TensorRT-RTX names it in lower case: ``8.9`` and ``SM89`` are ``sm89``."""
        wanted = [self.compute_capability] if isinstance(self.compute_capability, str) else self.compute_capability
        names = (text.strip().lower().replace(".", "") for text in wanted)
        return tuple(dict.fromkeys(f"sm{name}" if name.isdecimal() else name for name in names))

    def needs(self) -> Needs:
        current = "current" in self.capabilities()
        return Needs(libraries=_CUDA, gpu=True, install=_RTX_RUN) if current else Needs()

    def run_needs(self) -> Needs:
        named = tuple(name for name in self.capabilities() if name != "current")
        return Needs(gpu_sm=named, install=_RTX_RUN)


class TensorRTSettings(EngineSettings, kw_only=True):
    """Build on, and for, the NVIDIA GPU of the machine."""

    hardware_compatibility: Annotated[
        Literal["none", "ampere-plus", "same-compute-capability"],
        Meta(description="let the engine run on other GPUs than the one it was built on"),
    ] = "none"
    version_compatible: Annotated[bool, Meta(description="let later TensorRT versions load the engine")] = False
    timing_cache: (
        Annotated[
            FileRef, Meta(description="a timing cache to start from, such as the timing.cache of an earlier artifact")
        ]
        | None
    ) = None
    save_timing_cache: Annotated[bool, Meta(description="publish timing.cache beside the engine")] = False


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    for name, title in (("tensorrt-rtx-engine", "TensorRT-RTX"), ("tensorrt-engine", "TensorRT")):
        yield Kind(
            name=name,
            files=("model.engine", "engine.json"),
            summary=f"serialized {title} engine, with what it takes and gives in engine.json",
            validate="cbuild_tensorrt.description:validate",
        )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="tensorrt-rtx",
        summary="TensorRT-RTX: engines for named RTX GPU architectures, built without a GPU",
        compile="cbuild_tensorrt.rtx:compile",
        load="cbuild_tensorrt.rtx:load",
        profile="cbuild_tensorrt.rtx:profile",
        settings=TensorRTRTXSettings,
        produces="tensorrt-rtx-engine",
        qdq_scheme="s8-symmetric",
        tools=("tensorrt_rtx_cu13_bindings", "tensorrt_rtx_cu13_libs"),
        compile_needs=Needs(modules=("tensorrt_rtx",), system=("Linux", "Windows"), install=_RTX_INSTALL),
        run_needs=Needs(
            modules=("tensorrt_rtx", "numpy"),
            libraries=_CUDA,
            gpu=True,
            install=_RTX_RUN,
        ),
        run_facts=("gpu.name", "gpu.sm", "gpu.driver", "cpu.model"),
        nondeterministic="TensorRT-RTX orders the kernels of int8 networks differently from build to build "
        "(float32 and float16 engines come out equal)",
    )
    yield Backend(
        name="tensorrt",
        summary="TensorRT 10 and 11: engines tuned on the GPU they are built on",
        compile="cbuild_tensorrt.standard:compile",
        load="cbuild_tensorrt.standard:load",
        profile="cbuild_tensorrt.standard:profile",
        settings=TensorRTSettings,
        produces="tensorrt-engine",
        qdq_scheme="s8-symmetric",
        tools=("tensorrt",),
        compile_needs=Needs(
            modules=("tensorrt",), libraries=_NVINFER, gpu=True, system=("Linux", "Windows"), install=_INSTALL
        ),
        run_needs=Needs(
            modules=("tensorrt", "numpy"), libraries=_NVINFER, gpu=True, system=("Linux", "Windows"), install=_INSTALL
        ),
        compile_facts=("gpu.sm", "gpu.name", "gpu.driver"),
        run_facts=("gpu.name", "gpu.sm", "gpu.driver", "cpu.model"),
        nondeterministic="TensorRT chooses its kernels by timing them on the GPU",
    )


@hookimpl
def compressbuild_platforms() -> Iterator[Platform]:
    generations = {
        "ampere": ("sm86", "GeForce RTX 30, RTX A-series, A10, A40"),
        "ada": ("sm89", "GeForce RTX 40, RTX Ada, L4, L40S"),
        "blackwell": ("sm120", "GeForce RTX 50, RTX PRO Blackwell"),
    }
    for name, (architecture, products) in generations.items():
        yield Platform(
            name=f"rtx-{name}",
            backend="tensorrt-rtx",
            summary=f"{products} ({architecture}), cross-compiled by TensorRT-RTX",
            settings={"compute-capability": architecture},
        )
    yield Platform(
        name="rtx-all",
        backend="tensorrt-rtx",
        summary="RTX 30, 40 and 50 in one engine, cross-compiled by TensorRT-RTX",
        settings={"compute-capability": [architecture for architecture, _ in generations.values()]},
    )
    servers = {
        "t4": ("sm75", "T4"),
        "a100": ("sm80", "A100, A30"),
        "l4": ("sm89", "L4, L40S"),
        "h100": ("sm90", "H100, H200, GH200"),
        "b200": ("sm100", "B200, GB200"),
    }
    for name, (architecture, products) in servers.items():
        yield Platform(
            name=name,
            backend="tensorrt",
            summary=f"{products} ({architecture}), built on the GPU itself by TensorRT",
            requires={"gpu.sm": architecture},
        )
