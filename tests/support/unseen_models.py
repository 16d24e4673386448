"""ONNX files such as users bring: old and new, with control flow and text, damaged, and hostile."""

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


def _model(function: Callable[[], onnx.ModelProto]) -> Callable[[], onnx.ModelProto]:
    def write(directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.onnx").write_bytes(function().SerializeToString())

    MODELS[function.__name__] = write
    return function


def _mlp(opset: int = 17, ir_version: int = 9) -> onnx.ModelProto:
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


@_model
def opset_11() -> onnx.ModelProto:
    return _mlp(11, 6)


@_model
def opset_newest() -> onnx.ModelProto:
    return _mlp(onnx.defs.onnx_opset_version(), onnx.IR_VERSION)


@_model
def opset_of_the_future() -> onnx.ModelProto:
    return _mlp(999)


@_model
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


@_model
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


@_model
def text_input() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["x"], ["numbers"], "parse", to=FLOAT),
        helper.make_node("MatMul", ["numbers", "a"], ["y"], "product"),
    ]
    weights = [numpy_helper.from_array(np.ones((8, 4), np.float32), "a")]
    return models.model(nodes, {"x": (TensorProto.STRING, ["batch", 8])}, {"y": (FLOAT, ["batch", 4])}, weights)


@_model
def custom_operator() -> onnx.ModelProto:
    return models.one_op("Frobnicate", domain="com.example", shape=("batch", 8))


@_model
def misspelt_operator() -> onnx.ModelProto:
    return models.one_op("MatMull", shape=("batch", 8))


@_model
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


@_model
def float64() -> onnx.ModelProto:
    weights = [numpy_helper.from_array(np.ones((8, 4)), "a")]
    kind = TensorProto.DOUBLE
    nodes = [helper.make_node("MatMul", ["x", "a"], ["y"], "product")]
    return models.model(nodes, {"x": (kind, ["batch", 8])}, {"y": (kind, ["batch", 4])}, weights)


@_model
def no_nodes() -> onnx.ModelProto:
    return models.model([], {"x": (FLOAT, ["batch", 8])}, {"x": (FLOAT, ["batch", 8])})


@_model
def no_outputs() -> onnx.ModelProto:
    made = _mlp()
    del made.graph.output[:]
    return made


@_model
def circle() -> onnx.ModelProto:
    made = _mlp()
    made.graph.node[0].input[0] = "r"
    return made


def _file(name: str, data: Callable[[], bytes]) -> None:
    def write(directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.onnx").write_bytes(data())

    MODELS[name] = write


_file("empty_file", lambda: b"")
_file("not_onnx", lambda: b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
_file("cut_off", lambda: _mlp().SerializeToString()[:-300])


def _external(name: str, location: str, data: bytes | None = None) -> None:
    """A model whose weights are at ``location``; ``data``: what the file holds (None: it is not written)."""

    def write(directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        made = _mlp()
        offset = 0
        blob = b""
        for tensor in made.graph.initializer:
            raw = tensor.raw_data
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", location), ("offset", offset), ("length", len(raw))):
                tensor.external_data.add(key=key, value=str(value))
            blob, offset = blob + raw, offset + len(raw)
        (directory / "model.onnx").write_bytes(made.SerializeToString())
        if data is not None:
            place = Path(location) if Path(location).is_absolute() else directory / location
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(blob + data if data != b"short" else blob[:100])

    MODELS[name] = write


_external("external_data", "model.onnx.data", b"")
_external("external_data_missing", "model.onnx.data")
_external("external_data_short", "model.onnx.data", b"short")
_external("external_data_traversing", "../secret.bin", b"")
_external("external_data_absolute", "/etc/hostname")
