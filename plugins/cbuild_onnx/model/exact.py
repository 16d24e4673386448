"""An integer model in float arithmetic: its exact results, whatever the processor's 8-bit products do.

ONNX Runtime runs products of 8-bit integers by kernels that saturate on x86-64 without VNNI, optimised or not. A
reference that runs them would be as wrong as what is compared with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from . import files
from .runner import OnnxRunner

__all__ = ["reference", "spell_out"]

_FLOAT = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}
_QLINEAR = {"QLinearMatMul": "MatMul", "QLinearConv": "Conv"}
_GATES = ("W", "R")  # weights of an LSTM; in ONNX Runtime's quantized one they are inputs × gates


def reference(path: Path, place: Path, *, threads: int, fused: bool = False) -> OnnxRunner:
    """Runs a model as it is written: nothing fused, products of integers exact. ``place``: for a copy, if one is
    needed. ``fused``: float operators are, so that they round in another order; products stay exact."""
    proto = files.read(path, weights=False)
    if spell_out(proto):
        place.mkdir(exist_ok=True, parents=True)
        path = files.write(proto, place, weights_from=path.parent)
    return OnnxRunner(path, threads=threads, optimise=fused, integers=False)


def spell_out(model: ModelProto) -> int:
    """Replace products of 8-bit integers by those of the same numbers as float32; returns how many.

    A sum is exact up to 2^24, and beyond it far closer than 8 bits are.
    """
    return _graph(model.graph)


def _graph(graph: GraphProto) -> int:
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    made: list[NodeProto] = []
    count = 0
    for node in graph.node:
        count += sum(_graph(inner) for inner in files.subgraphs(node))
        points = [sizes.get(name, ()) for name in node.input[2:] if name]
        if node.op_type in _FLOAT and all(map(_is_one, points[:1])):
            made.extend(_product(node, sizes))
        elif node.op_type in _QLINEAR:
            made.extend(_dequantized(node, sizes))
        elif node.op_type == "DynamicQuantizeLSTM":
            made.extend(_recurrent(node))
        else:
            made.append(node)
            continue
        count += 1
    kept = [NodeProto.FromString(node.SerializeToString()) for node in made]
    del graph.node[:]
    graph.node.extend(kept)
    return count


def _is_one(shape: tuple[int, ...]) -> bool:
    return all(size == 1 for size in shape)


def _product(node: NodeProto, sizes: dict[str, tuple[int, ...]]) -> Iterator[NodeProto]:
    stem = node.output[0]
    operands = []
    for number, value in enumerate(node.input[:2]):
        point = node.input[2 + number] if len(node.input) > 2 + number else ""
        name = f"{stem}/exact_{number}"
        yield helper.make_node("Cast", [value], [name], to=TensorProto.FLOAT)
        if point:
            yield helper.make_node("Cast", [point], [f"{name}_zero"], to=TensorProto.FLOAT)
            zero = f"{name}_zero"
            if node.op_type == "ConvInteger" and number == 1 and not _is_one(sizes.get(point, ())):
                rank = len(sizes.get(value, (0, 0, 0, 0)))
                axes = f"{name}_shape"
                shape = helper.make_tensor(axes, TensorProto.INT64, [rank], [-1, *[1] * (rank - 1)])
                yield helper.make_node("Constant", [], [axes], value=shape)
                yield helper.make_node("Reshape", [zero, axes], [f"{name}_column"])
                zero = f"{name}_column"
            yield helper.make_node("Sub", [name, zero], [f"{name}_centred"])
            name = f"{name}_centred"
        operands.append(name)
    product = helper.make_node(_FLOAT[node.op_type], operands, [f"{stem}/exact"])
    product.attribute.extend(node.attribute)
    yield product
    yield helper.make_node("Cast", [f"{stem}/exact"], list(node.output), to=TensorProto.INT32)


def _dequantized(node: NodeProto, sizes: dict[str, tuple[int, ...]]) -> Iterator[NodeProto]:
    """QLinearMatMul or QLinearConv: the product of what its operands stand for, quantized as its result is."""
    stem, operands = node.output[0], []
    for number, at in enumerate((0, 3)):
        axis = -1 if number == 1 and node.op_type == "QLinearMatMul" else 0
        axis = axis if sizes.get(node.input[at + 1], ()) not in ((), (1,)) else 0
        operands.append(f"{stem}/exact_{number}")
        yield helper.make_node("DequantizeLinear", node.input[at : at + 3], operands[-1:], axis=axis)
    if len(node.input) > 8:  # the bias has the product of the scales
        yield helper.make_node("Cast", [node.input[8]], [f"{stem}/bias_whole"], to=TensorProto.FLOAT)
        yield helper.make_node("Mul", [node.input[1], node.input[4]], [f"{stem}/bias_scale"])
        yield helper.make_node("Mul", [f"{stem}/bias_whole", f"{stem}/bias_scale"], [f"{stem}/bias"])
        operands.append(f"{stem}/bias")
    product = helper.make_node(_QLINEAR[node.op_type], operands, [f"{stem}/exact"])
    product.attribute.extend(node.attribute)
    yield product
    yield helper.make_node("QuantizeLinear", [f"{stem}/exact", *node.input[6:8]], list(node.output))


def _recurrent(node: NodeProto) -> Iterator[NodeProto]:
    """DynamicQuantizeLSTM: an LSTM on the input as it is rounded, and on weights as they are stored. The hidden state,
    which is rounded at each step, is not."""
    stem = next(name for name in node.output if name)
    yield helper.make_node("DynamicQuantizeLinear", [node.input[0]], [f"{stem}/{part}" for part in ("x", "s", "z")])
    yield helper.make_node("DequantizeLinear", [f"{stem}/{part}" for part in ("x", "s", "z")], [f"{stem}/input"])
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [0, 1, -1])
    yield helper.make_node("Constant", [], [f"{stem}/shape"], value=shape)
    for name, stored, scale, zero in zip(_GATES, node.input[1:3], node.input[8:12:2], node.input[9:12:2], strict=True):
        part = f"{stem}/{name}"
        yield helper.make_node("Reshape", [scale, f"{stem}/shape"], [f"{part}_scale"])
        yield helper.make_node("Cast", [zero], [f"{part}_flat"], to=TensorProto.FLOAT)
        yield helper.make_node("Reshape", [f"{part}_flat", f"{stem}/shape"], [f"{part}_zero"])
        yield helper.make_node("Cast", [stored], [f"{part}_whole"], to=TensorProto.FLOAT)
        yield helper.make_node("Sub", [f"{part}_whole", f"{part}_zero"], [f"{part}_centred"])
        yield helper.make_node("Mul", [f"{part}_centred", f"{part}_scale"], [f"{part}_turned"])
        yield helper.make_node("Transpose", [f"{part}_turned"], [part], perm=[0, 2, 1])
    weights = [f"{stem}/{name}" for name in _GATES]
    made = helper.make_node("LSTM", [f"{stem}/input", *weights, *node.input[3:8]], list(node.output))
    made.attribute.extend(node.attribute)
    yield made
