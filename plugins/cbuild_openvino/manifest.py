"""OpenVINO: IR from ONNX, quantized by NNCF, run on Intel (and other) CPUs, GPUs and NPUs."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import AnswerMetric, Backend, Kind, Platform, Stack, Technique, hookimpl

from .layers.params import IrLayerError, IrLayerErrors
from .quantize.params import OpenVinoCompress, OpenVinoQuantize
from .settings import OpenVinoSettings

_MODULES = ("openvino", "onnx", "onnxruntime", "numpy")
_STACK = Stack(modules=_MODULES, tools=_MODULES, install="pip install 'compressbuild[openvino]'")
_NNCF = _STACK.also(modules=("nncf",), tools=("nncf",), install="pip install 'compressbuild[nncf]'")


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="openvino-ir",
        files=("model.xml", "model.bin"),
        loading=(
            "import openvino\n"
            'precision = {"INFERENCE_PRECISION_HINT": "<inference-precision:device=dynamic>"}\n'
            'model = openvino.compile_model(f"{directory}/model.xml", "<device>", precision)\n'
            "outputs = model(inputs)  # inputs: name → array\n"
        ),
        summary="OpenVINO intermediate representation",
        validate="cbuild_openvino.artifact:validate",
        load="cbuild_openvino.runner:load",
        stack=_STACK,
    )


@hookimpl
def compressbuild_techniques() -> Iterator[Technique]:
    for name, params, traits in (
        ("quantize", OpenVinoQuantize, ("int8", "calibrates")),
        ("compress", OpenVinoCompress, ("weights-only",)),
    ):
        yield Technique(
            name=f"openvino.{name}",
            run=f"cbuild_openvino.quantize.{name}:{name}",
            params=params,
            traits=traits,
            consumes=("onnx", "openvino-ir"),
            produces="openvino-ir",
            stack=_NNCF,
        )
    yield Technique(
        name="metrics.openvino-layer-errors",
        run="cbuild_openvino.layers.measure:measure",
        params=IrLayerErrors,
        consumes=("openvino-ir",),
        produces="layer-errors",
        stack=_STACK,
    )


@hookimpl
def compressbuild_metrics() -> Iterator[AnswerMetric]:
    yield AnswerMetric(
        name="openvino-layer-error",
        summary="least signal-to-noise ratio that a layer of an OpenVINO model has of its own, against what it was "
        "made from",
        source="SQNR of activations as in onnxruntime.quantization.qdq_loss_debug; each layer also run alone in float",
        run="cbuild_onnx.layers.errors:layer_error",
        params=IrLayerError,
        via="metrics.openvino-layer-errors",
        origin=("onnx", "openvino-ir"),
        unit="dB",
        direction="higher",
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="openvino",
        priority=90,
        summary="OpenVINO: IR for Intel CPUs, GPUs and NPUs, and ARM CPUs",
        compile="cbuild_openvino.compile:compile",
        load="cbuild_openvino.runner:load",
        settings=OpenVinoSettings,
        consumes=("onnx", "openvino-ir"),
        produces="openvino-ir",
        qdq_scheme="u8-affine",
        saturates=True,
        stack=_STACK,
        # The IR is the same everywhere; whether it computes what its source does is seen on one processor.
        compile_facts=("cpu.arch", "cpu.isa"),
        run_facts=("cpu.model", "cpu.isa"),
        profile="cbuild_openvino.profile:profile",
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
