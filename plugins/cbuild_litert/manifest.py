"""LiteRT, formerly TensorFlow Lite: models for phones and boards, made and run in a Python environment of its own."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import Backend, Environment, Kind, Needs, Platform, Stack, Technique, hookimpl

from .params import ExportTflite, QuantizeTflite
from .settings import EthosUSettings, LiteRtSettings

# litert-torch needs typing-extensions < 4.13 and, through it, an older pydantic than other tools.
_ENVIRONMENT = Environment(name="litert", requirements="cbuild_litert:requirements.txt", python=">=3.11,<3.14")
_RUN = Stack(
    modules=("ai_edge_litert", "numpy"),
    tools=("ai-edge-litert", "numpy"),
    preload=("numpy",),
    install="pip install 'compressbuild[environments]', then 'cbuild env make litert'",
    environment=_ENVIRONMENT,
)
_QUANTIZE = _RUN.also(modules=("ai_edge_quantizer",), tools=("ai-edge-quantizer",))
_EXPORT = _RUN.also(
    modules=("litert_torch", "torch", "safetensors"),
    tools=("litert-torch", "litert-converter", "torch", "safetensors"),
    preload=("torch", "torch._dynamo", "torch.export", "safetensors.torch"),
)
_VELA = Stack(
    modules=("ethosu", "numpy"),
    tools=("ethos-u-vela", "numpy"),
    preload=("numpy",),
    install="pip install 'compressbuild[environments]', then 'cbuild env make vela'",
    environment=Environment(name="vela", requirements="cbuild_litert:requirements-vela.txt", python=">=3.11,<3.14"),
)
_DEVICE = Needs(system=("an Arm Ethos-U",))


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="tflite",
        files=("*.tflite",),
        loading=(
            "from ai_edge_litert.interpreter import Interpreter\n"
            'run = Interpreter(f"{directory}/*.tflite").get_signature_runner()\n'
            "outputs = run(**inputs)  # inputs: name → array\n"
        ),
        summary="LiteRT (TensorFlow Lite) model, with its inputs and outputs in interface.json",
        validate="cbuild_litert.artifact:validate",
        load="cbuild_litert.runner:load_reference",
        census="cbuild_litert.census:census",
        suffixes=(".tflite",),
        stack=_RUN,
    )
    yield Kind(
        name="ethos-u-model",
        files=("model.tflite",),
        loading=(
            'model = open(f"{directory}/model.tflite", "rb").read()\n'
            "# for LiteRT for Microcontrollers, built with the operator ethos-u\n"
        ),
        summary="LiteRT model whose operator ethos-u holds the commands of an Arm Ethos-U",
        validate="cbuild_litert.artifact:validate_compiled",
        stack=_VELA,
        needs=_DEVICE,
    )


@hookimpl
def compressbuild_techniques() -> Iterator[Technique]:
    yield Technique(
        name="export.tflite",
        run="cbuild_litert.export:export",
        params=ExportTflite,
        consumes=("torch-model",),
        produces="tflite",
        stack=_EXPORT,
        traits=("exports",),
    )
    yield Technique(
        name="quantize.tflite",
        run="cbuild_litert.quantize:quantize",
        params=QuantizeTflite,
        consumes=("tflite",),
        produces="tflite",
        stack=_QUANTIZE,
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="litert",
        summary="LiteRT with XNNPACK: models for the CPUs of phones and boards",
        compile="cbuild_litert.compile:compile",
        load="cbuild_litert.runner:load",
        settings=LiteRtSettings,
        consumes=("tflite",),
        produces="tflite",
        stack=_RUN,
        # The file is the same everywhere; whether XNNPACK computes what it says is seen on one processor.
        compile_facts=("cpu.arch", "cpu.isa"),
        run_facts=("cpu.model", "cpu.isa"),
    )
    yield Backend(
        name="ethos-u",
        summary="Vela: LiteRT models for Arm Ethos-U, in microcontrollers",
        compile="cbuild_litert.vela:compile",
        load="cbuild_litert.vela:load",
        settings=EthosUSettings,
        consumes=("tflite",),
        produces="ethos-u-model",
        stack=_VELA,
        run_needs=_DEVICE,
    )


@hookimpl
def compressbuild_platforms() -> Iterator[Platform]:
    yield Platform(
        name="android-litert",
        backend="litert",
        summary="CPUs of Android phones and ARM boards, on LiteRT with XNNPACK; measured on this machine's CPU",
        settings={"threads": 1},
    )
    for name, shown, accelerator, system, memory in (
        ("ethos-u55", "Ethos-U55", "ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram"),
        ("ethos-u65", "Ethos-U65", "ethos-u65-256", "Ethos_U65_High_End", "Dedicated_Sram_384KB"),
        ("ethos-u85", "Ethos-U85", "ethos-u85-256", "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
    ):
        yield Platform(
            name=name,
            backend="ethos-u",
            summary=f"microcontrollers with an Arm {shown}; its speed is estimated, not measured",
            settings={"accelerator": accelerator, "system": system, "memory": memory},
        )
