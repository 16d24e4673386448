"""Files of other makers, and structures that 8 bits do not suit: quantized right, against the float source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cbuild_onnx.convert.params import ConvertFp16
from cbuild_onnx.model.normal import name_nodes
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeMixed, QuantizeStatic, QuantizeWeights
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compressbuild.api import UserError

RNG = np.random.default_rng(0)
STATIC = QuantizeStatic(data="random", scheme="u8-affine")
RUNS = {
    "static": ("cbuild_onnx.quantize.static:quantize", STATIC),
    "dynamic": ("cbuild_onnx.quantize.dynamic:quantize", QuantizeDynamic(weights="int8")),
    "weights": ("cbuild_onnx.quantize.weights:quantize", QuantizeWeights(bits=8)),
}


def data() -> Any:
    rng = np.random.default_rng(1)
    for _ in range(4):
        yield rng.standard_normal((16, 8, 8)).astype(np.float32), np.zeros(16, np.int64)


def weight(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)


def model(
    nodes: list[NodeProto], weights: dict[str, np.ndarray], *, rank: int = 3, opset: int = 18, ir: int = 10
) -> ModelProto:
    shape = ["batch", 8, 8][:rank]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


@pytest.fixture
def quantized(technique: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Apply a quantizer to a model, and give its node."""

    def run(proto: ModelProto, name: str = "static", params: Any = None) -> Any:
        place = tmp_path / f"subject-{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        onnx.save(proto, place / "model.onnx")
        function, usual = RUNS[name]
        return technique(function, place, params or usual, datasets={"random": "test_other_makers:data"})

    return run


def operators(node: Any) -> list[str]:
    return [each.op_type for each in onnx.load(node.out / "model.onnx").graph.node]


def flat(proto_nodes: list[NodeProto]) -> list[NodeProto]:
    return [helper.make_node("Flatten", ["x"], ["flat"], "flatten"), *proto_nodes]


@pytest.mark.parametrize("name", list(RUNS))
@pytest.mark.parametrize(("alpha", "beta"), [(0.25, 1.0), (1.0, 3.0), (0.5, 0.1)])
def test_factors_of_a_gemm_are_kept(quantized: Any, name: str, alpha: float, beta: float) -> None:
    gemm = helper.make_node("Gemm", ["flat", "w", "b"], ["y"], "gemm", alpha=alpha, beta=beta)
    node = quantized(model(flat([gemm]), {"w": weight(64, 16), "b": 4 * weight(16)}), name)
    assert node.facts["sqnr_db"]["y"] > 30


def chain(names: bool) -> ModelProto:
    nodes = flat([])
    for number in range(3):
        source, result = ("flat" if number == 0 else f"h{number - 1}"), ("y" if number == 2 else f"h{number}")
        nodes.append(helper.make_node("MatMul", [source, f"w{number}"], [result], f"p{number}" if names else ""))
    return model(nodes, {f"w{number}": weight(64, 64) for number in range(3)})


@pytest.mark.parametrize("name", list(RUNS))
def test_nodes_without_names_are_quantized_all_the_same(quantized: Any, name: str) -> None:
    assert operators(quantized(chain(False), name)) == operators(quantized(chain(True), name))


def test_names_are_made_unique() -> None:
    proto = chain(False)
    proto.graph.node[0].name = proto.graph.node[1].name = "same"
    assert name_nodes(proto) == 3
    assert [node.name for node in proto.graph.node] == ["same", "h0", "h1", "y"]
    assert name_nodes(proto) == 0


@pytest.mark.parametrize("name", list(RUNS))
def test_weights_in_constant_nodes(quantized: Any, name: str) -> None:
    constant = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weight(64, 16)))
    node = quantized(model(flat([constant, helper.make_node("MatMul", ["flat", "w"], ["y"], "p")]), {}), name)
    assert node.facts["sqnr_db"]["y"] > 30
    assert all(
        t.data_type != TensorProto.FLOAT or len(t.dims) < 2
        for t in onnx.load(node.out / "model.onnx").graph.initializer
    )


@pytest.mark.parametrize("name", list(RUNS))
def test_weights_that_are_inputs_too(quantized: Any, name: str) -> None:
    """As in files of IR version 3."""
    proto = model(flat([helper.make_node("MatMul", ["flat", "w"], ["y"], "p")]), {"w": weight(64, 16)}, opset=11, ir=3)
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [64, 16]))
    node = quantized(proto, name)
    assert [value.name for value in onnx.load(node.out / "model.onnx").graph.input] == ["x"]
    assert node.facts["sqnr_db"]["y"] > 30


@pytest.mark.parametrize("opset", [9, 10, 11, 12])
def test_an_old_opset_is_converted(quantized: Any, opset: int) -> None:
    nodes = flat([helper.make_node("Gemm", ["flat", "w", "b"], ["h"], "g"), helper.make_node("Softmax", ["h"], ["y"])])
    node = quantized(model(nodes, {"w": weight(64, 16), "b": weight(16)}, opset=opset, ir=4))
    assert node.facts["sqnr_db"]["y"] > 20
    assert onnx.load(node.out / "model.onnx").opset_import[0].version >= 13


@pytest.mark.parametrize("name", list(RUNS))
def test_float64_weights_are_named(quantized: Any, name: str) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Flatten", ["wide"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y64"]),
        helper.make_node("Cast", ["y64"], ["y"], to=TensorProto.FLOAT),
    ]
    with pytest.raises(UserError, match=r"the weights are float64 \('w'\)") as caught:
        quantized(model(nodes, {"w": weight(64, 16).astype(np.float64)}), name)
    assert "float32" in (caught.value.hint or "")


def boxes_and_scores() -> ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "p"),
        helper.make_node("Split", ["h"], ["near", "far"], "split", axis=2, num_outputs=2),
        helper.make_node("Mul", ["near", "pixels"], ["boxes"], "scale"),
        helper.make_node("Sigmoid", ["far"], ["scores"], "squash"),
        helper.make_node("Concat", ["boxes", "scores"], ["both"], "join", axis=2),
        helper.make_node("Transpose", ["both"], ["y"], "turn", perm=[0, 2, 1]),
    ]
    return model(nodes, {"w": weight(8, 8), "pixels": np.array(600, np.float32)})


def test_boxes_and_scores_are_joined_in_float(quantized: Any) -> None:
    node = quantized(boxes_and_scores())
    assert min(node.facts["sqnr_parts"].values()) > 25
    made = onnx.load(node.out / "model.onnx")
    join = next(each for each in made.graph.node if each.op_type == "Concat")
    reads = [each for each in made.graph.node if join.output[0] in each.input]
    assert [each.op_type for each in reads] == ["Transpose"], "what it joins is not quantized again"


def test_a_lost_part_is_refused(quantized: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault planted: one scale for all."""
    monkeypatch.setattr("cbuild_onnx.quantize.static._APART", 1e9)
    with pytest.raises(UserError, match=r"the signal of part 4–7 of axis 1 of output 'y' is"):
        quantized(boxes_and_scores())


def test_a_spelled_out_normalisation_stays_float(quantized: Any) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "lengths"], ["tokens"], "tokens"),
        helper.make_node("Mul", ["tokens", "tokens"], ["square"], "square"),
        helper.make_node("ReduceMean", ["square", "last"], ["mean"], "mean"),
        helper.make_node("Add", ["mean", "epsilon"], ["more"], "more"),
        helper.make_node("Sqrt", ["more"], ["root"], "root"),
        helper.make_node("Div", ["tokens", "root"], ["norm"], "norm"),
        helper.make_node("MatMul", ["norm", "w"], ["h"], "product"),
        helper.make_node("Add", ["h", "norm"], ["y"], "residual"),
    ]
    lengths = np.logspace(-2, 0, 8).astype(np.float32).reshape(1, 8, 1)
    constants = {"last": np.array([-1]), "epsilon": np.array(1e-6, np.float32), "lengths": lengths, "w": weight(8, 8)}
    node = quantized(model(nodes, constants))
    assert node.facts["sqnr_db"]["y"] > 30
    every = ("Add", "Mul", "MatMul", "Div", "Sqrt", "ReduceMean")
    with pytest.raises(UserError, match="damaged the model"):
        quantized(model(nodes, constants), params=QuantizeStatic(data="random", scheme="u8-affine", op_types=every))


@pytest.mark.parametrize("technique_name", ["static", "mixed"])
def test_a_transposed_convolution_with_groups(quantized: Any, technique_name: str) -> None:
    RUNS["mixed"] = (
        "cbuild_onnx.quantize.mixed:quantize",
        QuantizeMixed(data="random", scheme="u8-affine", metric="sqnr"),
    )
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["h"], "first"),
        helper.make_node("ConvTranspose", ["h", "w", "b"], ["y"], "up", group=2),
    ]
    weights = {"v": weight(8, 8, 1), "w": weight(8, 4, 3), "b": weight(8)}
    node = quantized(model(nodes, weights), technique_name)
    assert node.facts["sqnr_db"]["y"] > 25
    assert operators(node).count("QuantizeLinear") > 0


def test_float16_of_a_gru_whose_state_goes_in_and_out(technique: Any, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], "turn", perm=[1, 0, 2]),
        helper.make_node("GRU", ["steps", "w", "r", "b", "", "state"], ["all", "state_out"], "cells", hidden_size=16),
        helper.make_node("Squeeze", ["all", "one"], ["y"], "squeeze"),
    ]
    weights = {"w": weight(1, 48, 8), "r": weight(1, 48, 16), "b": weight(1, 96), "one": np.array([1])}
    proto = model(nodes, weights)
    shape = [1, "batch", 16]
    proto.graph.input.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, shape))
    proto.graph.output.append(helper.make_tensor_value_info("state_out", TensorProto.FLOAT, shape))
    place = tmp_path / "gru"
    place.mkdir()
    onnx.save(proto, place / "model.onnx")
    node = technique("cbuild_onnx.convert.fp16:convert", place, ConvertFp16())
    assert node.facts["max_difference"] < 0.01
