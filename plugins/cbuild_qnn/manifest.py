"""QNN: ONNX models for the neural processors of Qualcomm's chips, compiled ahead of time on any x86-64."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import Backend, Environment, Kind, Needs, Platform, Stack, hookimpl

from .settings import QnnSettings

_STACK = Stack(
    modules=("onnxruntime_qnn", "onnxruntime", "onnx", "numpy"),
    tools=("onnxruntime-qnn", "onnxruntime", "onnx", "numpy"),
    preload=("numpy",),
    install="pip install 'compressbuild[environments]', then 'cbuild env make qnn'",
    environment=Environment(name="qnn", requirements="cbuild_qnn:requirements.txt", python=">=3.11,<3.14"),
)
_DEVICE = Needs(system=("a device with a Qualcomm HTP",))


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="qnn-context",
        files=("model.onnx", "*.bin"),
        loading=(
            "import onnxruntime, onnxruntime_qnn\n"
            'onnxruntime.register_execution_provider_library("QNN", onnxruntime_qnn.get_library_path())\n'
            'model = f"{directory}/model.onnx"  # for a session with the provider of the device\n'
        ),
        summary="context binaries for Qualcomm's HTP, in an ONNX model that names them",
        validate="cbuild_qnn.artifact:validate",
        stack=_STACK,
        needs=_DEVICE,
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="qnn",
        summary="QNN: context binaries for the HTP of Qualcomm's chips",
        compile="cbuild_qnn.compile:compile",
        load="cbuild_qnn.runner:load",
        settings=QnnSettings,
        consumes=("onnx",),
        produces="qnn-context",
        qdq_scheme="u8-affine",
        stack=_STACK,
        compile_needs=Needs(system=("Linux",)),
        run_needs=_DEVICE,
        nondeterministic="two runs of QNN's compiler gave context binaries of different bytes",
    )


@hookimpl
def compressbuild_platforms() -> Iterator[Platform]:
    for generation, chip in (("v73", "Snapdragon 8 Gen 2"), ("v75", "Snapdragon 8 Gen 3")):
        yield Platform(
            name=f"qnn-{generation}",
            backend="qnn",
            summary=f"phones and boards since {chip}, on their HTP; compiled, not measured",
            settings={"htp-arch": generation},
        )
