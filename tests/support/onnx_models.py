"""Small ONNX models with real weights, made without an exporter, and their quantised forms."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from processor import NARROW

SHAPE = (1, 8, 8)


def cnn(batch: int | str = "batch", *, blocks: int = 2, channels: int = 16) -> onnx.ModelProto:
    """A residual CNN: image N×1×8×8 → logits N×10. Its multiply-accumulates are :func:`cnn_macs`."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []

    def conv(x: str, cin: int, cout: int, name: str) -> str:
        w = rng.standard_normal((cout, cin, 3, 3)) / np.sqrt(9 * cin)
        weights.append(numpy_helper.from_array(w.astype(np.float32), f"{name}.w"))
        weights.append(numpy_helper.from_array((0.1 * rng.standard_normal(cout)).astype(np.float32), f"{name}.b"))
        nodes.append(helper.make_node("Conv", [x, f"{name}.w", f"{name}.b"], [name], name=name, pads=[1, 1, 1, 1]))
        return name

    def relu(x: str) -> str:
        nodes.append(helper.make_node("Relu", [x], [f"{x}.relu"], name=f"{x}.relu"))
        return f"{x}.relu"

    x = relu(conv("image", 1, channels, "stem"))
    for i in range(blocks):
        y = conv(relu(conv(x, channels, channels, f"block{i}.conv1")), channels, channels, f"block{i}.conv2")
        nodes.append(helper.make_node("Add", [x, y], [f"block{i}.add"], name=f"block{i}.add"))
        x = relu(f"block{i}.add")
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pooled"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"))
    weights.append(numpy_helper.from_array(rng.standard_normal((channels, 10)).astype(np.float32), "fc.w"))
    weights.append(numpy_helper.from_array(np.zeros(10, np.float32), "fc.b"))
    nodes.append(helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], ["logits"], name="fc"))
    return model(
        nodes, {"image": (TensorProto.FLOAT, [batch, *SHAPE])}, {"logits": (TensorProto.FLOAT, [batch, 10])}, weights
    )


def cnn_macs(*, blocks: int = 2, channels: int = 16) -> int:
    return 64 * 9 * channels + blocks * 2 * 64 * 9 * channels**2 + channels * 10


def cnn_parameters(*, blocks: int = 2, channels: int = 16) -> int:
    return 10 * channels + blocks * 2 * (9 * channels**2 + channels) + channels * 10 + 10


def pyramid() -> onnx.ModelProto:
    """A detector of pictures of any size: features of two scales are joined, so it refuses sides that are no multiples
    of 32. Image N×3×H×W → a score for each place, N×1×(H/16)×(W/16)."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []

    def conv(x: str, cin: int, cout: int, name: str, **more: Any) -> str:
        w = rng.standard_normal((cout, cin, 3, 3)) * np.sqrt(2 / (9 * cin))
        weights.append(numpy_helper.from_array(w.astype(np.float32), f"{name}.w"))
        nodes.append(helper.make_node("Conv", [x, f"{name}.w"], [f"{name}.c"], name=name, pads=[1] * 4, **more))
        nodes.append(helper.make_node("Relu", [f"{name}.c"], [f"{name}.r"], name=f"{name}.r"))
        return f"{name}.r"

    x, levels = "image", []
    for level in range(5):
        x = conv(x, 3 if level == 0 else 8, 8, f"level{level}", strides=[2, 2])
        levels.append(x)
    weights.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice"))
    nodes.append(helper.make_node("Resize", [x, "", "twice"], ["up"], name="up", mode="nearest"))
    nodes.append(helper.make_node("Concat", ["up", levels[3]], ["joined"], name="joined", axis=1))
    nodes.append(helper.make_node("Sigmoid", [conv("joined", 16, 1, "head")], ["score"], name="score"))
    return model(
        nodes,
        {"image": (TensorProto.FLOAT, ["batch", 3, "height", "width"])},
        {"score": (TensorProto.FLOAT, ["batch", 1, "rows", "columns"])},
        weights,
    )


def model(
    nodes: list[Any],
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, tuple[int, list[Any] | None]],
    weights: list[onnx.TensorProto] | None = None,
    *,
    domains: tuple[str, ...] = (),
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *form) for name, form in inputs.items()],
        [helper.make_tensor_value_info(name, *form) for name, form in outputs.items()],
        weights or [],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def one_op(op: str, *, domain: str = "", shape: tuple[Any, ...] = (1, 4), **attributes: Any) -> onnx.ModelProto:
    """A model of one node named 'strange'."""
    node = helper.make_node(op, ["x"], ["y"], name="strange", domain=domain, **attributes)
    return model(
        [node],
        {"x": (TensorProto.FLOAT, list(shape))},
        {"y": (TensorProto.FLOAT, None)},
        domains=(domain,) if domain else (),
    )


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, *SHAPE)).astype(np.float32)


def save(proto: onnx.ModelProto, directory: Path) -> Path:
    """An artifact of kind onnx."""
    directory.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, str(directory / "model.onnx"))
    return directory


def chain(directory: Path, *, width: int, layers: int, relu: bool = False) -> int:
    """An artifact of kind onnx, x N×width through ``layers`` matrix products, its weights in a file beside it; their
    bytes. ``relu``: after each."""
    rng = np.random.default_rng(0)
    nodes, weights, x = [], [], "x"
    for number in range(layers):
        matrix = rng.standard_normal((width, width), np.float32) * np.float32((2 / width) ** 0.5)
        weights.append(numpy_helper.from_array(matrix, f"w{number}"))
        nodes.append(helper.make_node("MatMul", [x, f"w{number}"], [f"y{number}"], f"product{number}"))
        x = f"y{number}"
        if relu:
            nodes.append(helper.make_node("Relu", [x], [f"x{number}"], f"relu{number}"))
            x = f"x{number}"
    form = (TensorProto.FLOAT, ["batch", width])
    directory.mkdir(parents=True, exist_ok=True)
    proto = model(nodes, {"x": form}, {x: form}, weights)
    onnx.save(proto, str(directory / "model.onnx"), save_as_external_data=True, location="model.onnx.data")
    return 4 * width * width * layers


def quantized(artifact: Path, out: Path, scheme: str) -> Path:
    """``artifact`` as QDQ int8 per channel: ``u8-affine``, or ``s8-symmetric`` with float biases as TensorRT needs."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter([{"image": images(8, seed)} for seed in range(4)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    symmetric = scheme == "s8-symmetric"
    out.mkdir(parents=True, exist_ok=True)
    _quietly(
        lambda: quantize_static(
            str(artifact / "model.onnx"),
            str(out / "model.onnx"),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=NARROW,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True, "QuantizeBias": False} if symmetric else {},
        )
    )
    return out


def half(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every float tensor, inputs and outputs too, in float16."""
    converted = onnx.ModelProto.FromString(proto.SerializeToString())
    for tensor in converted.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*converted.graph.input, *converted.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return converted


def _quietly(action: Callable[[], object]) -> None:
    import contextlib

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            action()
    finally:
        root.setLevel(level)
