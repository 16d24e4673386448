"""ONNX files such as users bring are built, or refused in one clear line (`unseen_models`, `faulty_models`)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cbuild_onnx.convert.params import ConvertFp16
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeStatic
from cbuild_onnxruntime.settings import OnnxRuntimeSettings
from cbuild_openvino.settings import OpenVinoSettings
from cbuild_tensorrt.settings import TensorRTRTXSettings
from command import Work
from faulty_models import MODELS

from compressbuild.api import UserError
from compressbuild.api.testing import run_node

RUNS = {
    "onnxruntime": ("cbuild_onnxruntime.compile:compile", OnnxRuntimeSettings()),
    "openvino": ("cbuild_openvino.compile:compile", OpenVinoSettings()),
    "tensorrt-rtx": ("cbuild_tensorrt.rtx:compile", TensorRTRTXSettings(compute_capability="sm89")),
    "dynamic": ("cbuild_onnx.quantize.dynamic:quantize", QuantizeDynamic()),
    "static": ("cbuild_onnx.quantize.static:quantize", QuantizeStatic(data="rows", scheme="u8-affine", samples=8)),
    "fp16": ("cbuild_onnx.convert.fp16:convert", ConvertFp16()),
}
RUNTIMES = ("onnxruntime", "openvino", "tensorrt-rtx")
TECHNIQUES = ("dynamic", "static", "fp16")


def rows():
    """Eight numbers a sample, as the models take them."""
    values = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    return [(values, np.zeros(8, np.int64))]


def run(name: str, model: str, tmp_path: Path):
    MODELS[model](tmp_path / "in")
    function, settings = RUNS[name]
    if name == "tensorrt-rtx":
        pytest.importorskip("tensorrt_rtx")
    return run_node(
        function, tmp_path / "in", settings, tmp_path / "out", kind="onnx", datasets={"rows": "test_unseen:rows"}
    )


def refusal(name: str, model: str, tmp_path: Path) -> str:
    with pytest.raises(UserError) as caught:
        run(name, model, tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path) not in message
    assert "ONNXRuntimeError" not in message
    assert "onnxruntime::" not in message
    assert caught.value.hint
    return message


BUILT = [
    *(
        (name, model)
        for name in RUNTIMES
        for model in ("opset_11", "opset_newest", "branches", "loop", "scan", "function", "external_data")
    ),
    *((name, model) for name in RUNTIMES for model in ("float64", "scalar", "no_inputs")),
    *((name, model) for name in RUNTIMES for model in ("bfloat16_weight", "float8_weight", "int4_weight")),
    *((name, "sparse_weight") for name in ("onnxruntime", "openvino")),
    *((name, model) for name in ("dynamic", "fp16") for model in ("opset_11", "opset_newest", "external_data")),
    ("static", "opset_11"),
    ("static", "opset_newest"),
    ("static", "external_data"),
    ("fp16", "branches"),
    ("fp16", "loop"),
    ("fp16", "float64"),
    ("onnxruntime", "sequence_output"),
]


@pytest.mark.parametrize(("name", "model"), BUILT)
def test_built(name: str, model: str, tmp_path: Path) -> None:
    node = run(name, model, tmp_path)
    assert any(path.stat().st_size for path in node.out.iterdir())
    if name in ("onnxruntime", "openvino") and model != "sequence_output":
        assert node.facts["sqnr_db"] > 50, "and it computes what its source does"


FAULTS = {
    "empty_file": "'model.onnx' has no nodes",
    "not_onnx": "'model.onnx' cannot be read as ONNX: ",
    "cut_off": "'model.onnx' cannot be read as ONNX: ",
    "no_nodes": "'model.onnx' has no nodes",
    "no_outputs": "'model.onnx' has no outputs",
    "circle": "'model.onnx': node 'first' (MatMul) needs its own output",
    "function_of_itself": "'model.onnx': function 'Twice' calls itself",
    "type_missing": "'model.onnx': input 'x' has no type",
    "value_twice": "'model.onnx': 'h' is written twice",
    "weight_twice": "'model.onnx': two weights are called 'a'",
    "input_twice": "'model.onnx': two inputs are called 'x'",
    "value_of_nothing": "'model.onnx': node 'second' (MatMul) reads 'nowhere', which nothing writes",
    "value_of_nothing_in_a_branch": "'model.onnx': node 'else' (MatMul) reads 'nowhere', which nothing writes",
    "output_of_nothing": "'model.onnx': nothing writes the output 'nothing'",
    "weight_cut_off": "'model.onnx': tensor 'a' of shape [8, 32] needs 1024 bytes of data and has 100",
    "negative_shape": "'model.onnx': tensor 'a' has the shape [-8, 32]",
    "sparse_weight_elsewhere": "'model.onnx': sparse tensor 'a' has its data in another file",
    "opset_of_the_future": "'model.onnx' has opset 999, onnx ",
    "external_data_missing": "the data of tensor 'a' should be in 'model.onnx.data', which does not exist",
    "external_data_short": "the data of tensor 'a' ends at byte 1024 of 'model.onnx.data', which has only 100",
    "external_data_traversing": "the data of tensor 'a' is at '../secret.bin', outside the model's directory",
    "external_data_absolute": "the data of tensor 'a' is at '/etc/hostname', outside the model's directory",
    "external_data_before_the_file": "the data of tensor 'a' has an offset or a length that is not a number of bytes",
    "external_data_linked": "the data of tensor 'a' should be in 'data/hostname', which does not exist",
}


@pytest.mark.parametrize("model", FAULTS)
def test_a_faulty_file_is_named_as_such(model: str, tmp_path: Path) -> None:
    assert refusal("onnxruntime", model, tmp_path).startswith(FAULTS[model])


@pytest.mark.parametrize("model", ["cut_off", "circle", "function_of_itself", "external_data_traversing"])
@pytest.mark.parametrize("name", ["openvino", "tensorrt-rtx", *TECHNIQUES])
def test_by_whatever_takes_the_file(name: str, model: str, tmp_path: Path) -> None:
    assert refusal(name, model, tmp_path).startswith(FAULTS[model])


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_noise_is_not_compared(name: str, tmp_path: Path) -> None:
    assert run(name, "noise", tmp_path).facts["parity"].startswith("not checked: node 'noise' (RandomNormalLike)")


REFUSED = [
    ("onnxruntime", "text_input", "input 'x' is of type tensor(string)"),
    ("openvino", "text_input", "parse"),
    ("fp16", "text_input", "input 'x' has the type tensor(string)"),
    ("tensorrt-rtx", "text_input", "cannot read the model: input 'x' is of type string"),
    ("openvino", "shape_missing", "Operation name: x"),
    *((name, "sizes_that_differ", "second") for name in ("onnxruntime", "tensorrt-rtx")),
    ("openvino", "sizes_that_differ", "MatMul"),
    ("onnxruntime", "node_names_twice", "two nodes with same node name (same)"),
    *((name, "bfloat16", "'product'") for name in ("onnxruntime", "static", "fp16")),
    *((name, "custom_operator", "Frobnicate") for name in (*RUNTIMES, "fp16", "dynamic")),
    *((name, "misspelt_operator", "MatMull") for name in RUNTIMES),
    ("openvino", "sequence_output", "Sequence"),
    ("tensorrt-rtx", "sequence_output", "node 'split' (SplitToSequence)"),
    ("dynamic", "branches", "no operator could be quantized"),
]


@pytest.mark.parametrize(("name", "model", "expected"), REFUSED)
def test_what_cannot_be_done_says_which_operator_or_input(name: str, model: str, expected: str, tmp_path: Path) -> None:
    if (name, model) == ("dynamic", "custom_operator"):
        expected = "the model has none of MatMul, Gemm"
    assert expected in refusal(name, model, tmp_path)


def test_through_the_command_line(tmp_path: Path) -> None:
    """Files of a project, in processes of the engine's own: good ones are published, each bad one fails in one line."""
    work = Work(tmp_path / "project")
    models, targets = [], []
    chosen = {"opset_11": True, "branches": True, "external_data": True, "cut_off": False}
    chosen |= {"external_data_traversing": False, "external_data_missing": False}
    for name in chosen:
        MODELS[name](work.root / name)
        beside = [f"{name}/{path.name}" for path in (work.root / name).iterdir() if path.name != "model.onnx"]
        models.append(f"  {name}: {{file: {name}/model.onnx, files: {json.dumps(beside)}}}\n")
        targets.append(f"  {name}-cpu: {{from: {name}, platform: cpu-any}}\n")
    work.write("Compressfile", f"version: 1\nmodels:\n{''.join(models)}targets:\n{''.join(targets)}")
    ran = work.json("all", "-k", code=1)
    assert {path.name for path in (work.root / "build").iterdir()} == {f"{n}-cpu" for n, good in chosen.items() if good}
    failed = {event.node.partition("-cpu/")[0]: str(event.error) for event in ran.failures}
    assert sorted(failed) == sorted(name for name, good in chosen.items() if not good)
    for name, message in failed.items():
        assert message.startswith(FAULTS[name])
