"""Biases of Gemm in all shapes that ONNX allows, and weights that are Constant nodes: as other makers write them."""

from __future__ import annotations

from pathlib import Path

import digits
import numpy as np
import onnx
import pytest
from cbuild_onnx.model import files
from cbuild_onnx.model.census import census
from cbuild_onnx.quantize.biases import flatten
from cbuild_onnx.quantize.params import QuantizeStatic
from onnx import TensorProto, helper, numpy_helper

from compressbuild.api.testing import make_context

STATIC = "cbuild_onnx.quantize.static:quantize"
SHAPES = {"of a row": (1, 10), "of one number": (1,), "without axes": (), "plain": (10,), "shared": (1, 10)}
rng = np.random.default_rng(0)
WEIGHT = rng.standard_normal((64, 10)).astype(np.float32)


def written(directory: Path, bias: np.ndarray, *, shared: bool = False, constants: bool = False) -> Path:
    """The digits' 64 pixels → Gemm → 10 scores."""
    nodes = [
        helper.make_node("Reshape", ["image", "shape"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["made"], "product"),
        helper.make_node("Add", ["made", "bias"], ["logits"], "again") if shared
        else helper.make_node("Identity", ["made"], ["logits"], "end"),
    ]  # fmt: skip
    tensors = {"shape": np.array([0, 64], np.int64), "weight": WEIGHT, "bias": bias}
    held = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    if constants:
        nodes[:0] = [helper.make_node("Constant", [], [each.name], value=each) for each in held]
    graph = helper.make_graph(
        nodes,
        "biases",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [] if constants else held,
    )
    directory.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), directory / files.NAME
    )
    return directory


@pytest.mark.parametrize("kind", SHAPES)
def test_a_gemm_is_quantized_whatever_its_bias_is_like(kind: str, technique, tmp_path: Path) -> None:
    bias = rng.standard_normal(SHAPES[kind]).astype(np.float32)
    source = written(tmp_path / "source", bias, shared=kind == "shared")
    made = technique(STATIC, source, QuantizeStatic(data="calibration", scheme="u8-affine")).out
    feeds = {"image": digits.held_out()[0]["image"]}
    wanted, found = (digits.outputs(each, feeds)["logits"] for each in (source, made))
    assert np.abs(found - wanted).mean() < 0.05 * np.abs(wanted).mean()


def test_each_gets_the_shape_that_the_quantizer_takes(tmp_path: Path) -> None:
    for kind, shape in {**SHAPES, "of each row": (3, 10)}.items():
        path = written(tmp_path / kind, np.zeros(shape, np.float32), shared=kind == "shared") / files.NAME
        assert flatten(path) == (["product"] if kind == "of each row" else [])
        graph = onnx.load(path).graph
        biases = {each.name: list(each.dims) for each in graph.initializer}
        (gemm,) = (node for node in graph.node if node.op_type == "Gemm")
        assert biases[gemm.input[2]] == ([3, 10] if kind == "of each row" else [10])
        assert ("bias" in biases) == (kind in ("plain", "shared", "of each row")), "nothing is left that nobody reads"


def test_weights_in_constant_nodes_count(tmp_path: Path) -> None:
    source = written(tmp_path / "source", np.ones(10, np.float32), constants=True)
    found = {each.name: each for each in census(make_context(tmp_path / "out", subject=source), source).weights()}
    assert {name: each.array.shape for name, each in found.items()} == {"weight": (64, 10), "bias": (10,)}
    assert found["weight"].operator == "Gemm"
    assert np.array_equal(found["weight"].array, WEIGHT)
