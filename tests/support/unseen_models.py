"""ONNX files such as users bring: old and new, with control flow, text and narrow types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_models as models
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
Writer = Callable[[Path], None]

MODELS: dict[str, Writer] = {}
"""Name → what writes ``model.onnx`` (and what belongs to it) into a directory."""


def model(function: Callable[[], onnx.ModelProto]) -> Callable[[], onnx.ModelProto]:
    def write(directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.onnx").write_bytes(function().SerializeToString())

    MODELS[function.__name__] = write
    return function


def mlp(opset: int = 17, ir_version: int = 9) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("a", (8, 32)), ("b", (32, 4)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "b"], ["y"], "second"),
    ]
    made = models.model(nodes, {"x": (FLOAT, ["batch", 8])}, {"y": (FLOAT, ["batch", 4])}, weights, opset=opset)
    made.ir_version = ir_version
    return made


@model
def opset_11() -> onnx.ModelProto:
    return mlp(11, 6)


@model
def opset_newest() -> onnx.ModelProto:
    return mlp(onnx.defs.onnx_opset_version(), onnx.IR_VERSION)


@model
def branches() -> onnx.ModelProto:
    """``If`` on the sign of the sum, with a product in each branch."""

    def branch(name: str, weight: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(f"{name}.y", FLOAT, None)
        return helper.make_graph([helper.make_node("MatMul", ["x", weight], [f"{name}.y"], name)], name, [], [out])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], "sum", keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"], "test"),
        helper.make_node(
            "If", ["positive"], ["y"], "if", then_branch=branch("then", "a"), else_branch=branch("else", "b")
        ),
    ]
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(np.float32(0), "zero"),
        *(numpy_helper.from_array(rng.standard_normal((8, 4)).astype(np.float32), name) for name in "ab"),
    ]
    return models.model(nodes, {"x": (FLOAT, ["batch", 8])}, {"y": (FLOAT, ["batch", 4])}, weights)


@model
def loop() -> onnx.ModelProto:
    """Five products one after the other, as a ``Loop``."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"], "again"),
            helper.make_node("MatMul", ["h", "a"], ["p"], "product"),
            helper.make_node("Tanh", ["p"], ["h_out"], "bound"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("h", FLOAT, ["batch", 8]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("h_out", FLOAT, ["batch", 8]),
        ],
    )
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(np.int64(5), "times"),
        numpy_helper.from_array(np.bool_(True), "yes"),
        numpy_helper.from_array(rng.standard_normal((8, 8)).astype(np.float32), "a"),
    ]
    nodes = [helper.make_node("Loop", ["times", "yes", "x"], ["y"], "loop", body=body)]
    return models.model(nodes, {"x": (FLOAT, ["batch", 8])}, {"y": (FLOAT, ["batch", 8])}, weights)


@model
def text_input() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["x"], ["numbers"], "parse", to=FLOAT),
        helper.make_node("MatMul", ["numbers", "a"], ["y"], "product"),
    ]
    weights = [numpy_helper.from_array(np.ones((8, 4), np.float32), "a")]
    return models.model(nodes, {"x": (TensorProto.STRING, ["batch", 8])}, {"y": (FLOAT, ["batch", 4])}, weights)


@model
def custom_operator() -> onnx.ModelProto:
    return models.one_op("Frobnicate", domain="com.example", shape=("batch", 8))


@model
def sequence_output() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], "product"),
        helper.make_node("SplitToSequence", ["h"], ["y"], "split", axis=1),
    ]
    made = models.model(
        nodes,
        {"x": (FLOAT, ["batch", 8])},
        {"y": (FLOAT, None)},
        [numpy_helper.from_array(np.ones((8, 4), np.float32), "a")],
    )
    made.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("y", FLOAT, None))
    return made


@model
def float64() -> onnx.ModelProto:
    weights = [numpy_helper.from_array(np.ones((8, 4)), "a")]
    kind = TensorProto.DOUBLE
    nodes = [helper.make_node("MatMul", ["x", "a"], ["y"], "product")]
    return models.model(nodes, {"x": (kind, ["batch", 8])}, {"y": (kind, ["batch", 4])}, weights)


@model
def scan() -> onnx.ModelProto:
    """Running sums over the batch."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["sum", "row"], ["next"], "add"),
            helper.make_node("Identity", ["next"], ["given"], "give"),
        ],
        "body",
        [helper.make_tensor_value_info(name, FLOAT, [8]) for name in ("sum", "row")],
        [helper.make_tensor_value_info(name, FLOAT, [8]) for name in ("next", "given")],
    )
    node = helper.make_node("Scan", ["start", "x"], ["last", "y"], "scan", body=body, num_scan_inputs=1)
    start = numpy_helper.from_array(np.zeros(8, np.float32), "start")
    return models.model([node], {"x": (FLOAT, ["batch", 8])}, {"y": (FLOAT, ["batch", 8])}, [start])


@model
def function() -> onnx.ModelProto:
    """``Twice``, which the file defines itself."""
    body = [helper.make_node("Add", ["v", "v"], ["w"], "add")]
    made = models.model(
        [
            helper.make_node("MatMul", ["x", "a"], ["h"], "product"),
            helper.make_node("Twice", ["h"], ["y"], "twice", domain="own"),
        ],
        {"x": (FLOAT, ["batch", 8])},
        {"y": (FLOAT, ["batch", 4])},
        [numpy_helper.from_array(np.ones((8, 4), np.float32), "a")],
        domains=("own",),
    )
    made.functions.append(helper.make_function("own", "Twice", ["v"], ["w"], body, [helper.make_opsetid("", 17)]))
    return made


@model
def scalar() -> onnx.ModelProto:
    weights = [numpy_helper.from_array(np.arange(4, dtype=np.float32), "a")]
    return models.model(
        [helper.make_node("Mul", ["x", "a"], ["y"], "scale")], {"x": (FLOAT, [])}, {"y": (FLOAT, [4])}, weights
    )


@model
def no_inputs() -> onnx.ModelProto:
    made = mlp()
    made.graph.initializer.append(numpy_helper.from_array(np.ones((2, 8), np.float32), "x"))
    del made.graph.input[:]
    return made


@model
def sparse_weight() -> onnx.ModelProto:
    made = mlp()
    del made.graph.initializer[0]
    made.graph.sparse_initializer.append(_sparse("a"))
    return made


def _sparse(name: str) -> onnx.SparseTensorProto:
    values = helper.make_tensor(name, FLOAT, [2], [1.0, 2.0])
    return helper.make_sparse_tensor(values, helper.make_tensor("places", TensorProto.INT64, [2], [0, 37]), [8, 32])


def _low(kind: int) -> onnx.ModelProto:
    """Weights 1.0 of a narrow type, as ``helper.make_tensor`` stores them: one integer each."""
    integers = kind in (TensorProto.INT4, TensorProto.UINT4)
    weight = helper.make_tensor("w", kind, [8, 4], [1 if integers else 1.0] * 32)
    widen = helper.make_node("Cast", ["w"], ["a"], "widen", to=FLOAT)
    if kind != TensorProto.BFLOAT16:
        widen = helper.make_node("DequantizeLinear", ["w", "scale"], ["a"], "widen")
    made = models.model(
        [widen, helper.make_node("MatMul", ["x", "a"], ["y"], "product")],
        {"x": (FLOAT, ["batch", 8])},
        {"y": (FLOAT, ["batch", 4])},
        [weight, numpy_helper.from_array(np.float32(0.5), "scale")],
        opset=21,
    )
    made.ir_version = 10
    return made


@model
def bfloat16_weight() -> onnx.ModelProto:
    return _low(TensorProto.BFLOAT16)


@model
def float8_weight() -> onnx.ModelProto:
    return _low(TensorProto.FLOAT8E4M3FN)


@model
def int4_weight() -> onnx.ModelProto:
    return _low(TensorProto.INT4)


@model
def bfloat16() -> onnx.ModelProto:
    kind = TensorProto.BFLOAT16
    weights = [helper.make_tensor("a", kind, [8, 4], [1.0] * 32)]
    nodes = [helper.make_node("MatMul", ["x", "a"], ["y"], "product")]
    return models.model(nodes, {"x": (kind, ["batch", 8])}, {"y": (kind, ["batch", 4])}, weights)


@model
def noise() -> onnx.ModelProto:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["n"], "noise"),
        helper.make_node("Add", ["x", "n"], ["y"], "add"),
    ]
    return models.model(nodes, {"x": (FLOAT, ["batch", 8])}, {"y": (FLOAT, ["batch", 8])})
