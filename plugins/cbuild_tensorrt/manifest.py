"""TensorRT: engines from ONNX, for RTX cards ahead of time (no GPU needed) and for the GPU at hand."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import Backend, Kind, Needs, Platform, Stack, hookimpl

from .settings import _CUDA, _RTX_RUN, TensorRTRTXSettings, TensorRTSettings

_RTX_INSTALL = (
    "pip install 'compressbuild[tensorrt-rtx]' (TensorRT-RTX for Linux or Windows; its engines run on RTX GPUs)"
)
_INSTALL = (
    "the standard TensorRT builds only on the GPU it builds for: on a machine with an NVIDIA GPU and its driver, "
    "pip install 'compressbuild[tensorrt]'; with no GPU here, use the backend tensorrt-rtx, which cross-compiles"
)
_NVINFER = (("libnvinfer.so.11", "libnvinfer.so.10", "nvinfer_11.dll", "nvinfer_10.dll"),)


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    for name, title, module in (
        ("tensorrt-rtx-engine", "TensorRT-RTX", "tensorrt_rtx"),
        ("tensorrt-engine", "TensorRT", "tensorrt"),
    ):
        yield Kind(
            name=name,
            files=("model.engine", "engine.json"),
            summary=f"serialized {title} engine, with its inputs and outputs in engine.json",
            validate="cbuild_tensorrt.artifact:validate",
            loading=(
                f"import {module}\n"
                f"runtime = {module}.Runtime({module}.Logger())\n"
                'engine = runtime.deserialize_cuda_engine(open(f"{directory}/model.engine", "rb").read())\n'
            ),
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
        sparse=True,
        stack=Stack(
            modules=("tensorrt_rtx",),
            tools=("tensorrt_rtx_cu13_bindings", "tensorrt_rtx_cu13_libs"),
            install=_RTX_INSTALL,
        ),
        compile_needs=Needs(system=("Linux", "Windows"), install=_RTX_INSTALL),
        run_needs=Needs(modules=("numpy",), libraries=_CUDA, gpu=True, install=_RTX_RUN),
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
        sparse=True,
        stack=Stack(modules=("tensorrt",), tools=("tensorrt",), install=_INSTALL),
        compile_needs=Needs(libraries=_NVINFER, gpu=True, system=("Linux", "Windows"), install=_INSTALL),
        run_needs=Needs(
            modules=("numpy",), libraries=_NVINFER, gpu=True, system=("Linux", "Windows"), install=_INSTALL
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
