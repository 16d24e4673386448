"""Which tensors of an ONNX model are trained parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from onnx import TensorProto

__all__ = ["float_bytes", "graphs", "trained", "uses"]

_WIDTHS = {TensorProto.FLOAT: 4, TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2, TensorProto.DOUBLE: 8}

# Positions of inputs that are not weights: the constants of quantisation, and running statistics as in torch.
_CONSTANTS = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
    "DynamicQuantizeMatMul": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "MatMulNBits": (2, 3, 4),
    "GatherBlockQuantized": (2, 3),
    "DynamicQuantizeLSTM": (8, 9, 10, 11),
    "BatchNormalization": (3, 4),
}
# Integers that are too narrow for shapes, indices and axes: with two dimensions they are weights.
_NARROW = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4)
# Positions of the operands, with the bias, of operators that carry their scales; of any other it is the first.
_QLINEAR_OPERANDS = {
    "QLinearConv": (0, 3, 8),
    "QGemm": (0, 3, 6),
    "QLinearMatMul": (0, 3),
    "QLinearAdd": (0, 3),
    "QLinearMul": (0, 3),
}


def _is_constant(node: Any, position: int, scales: frozenset[str]) -> bool:
    """Whether an input of a node is a constant of quantisation. ``scales``: those found at run time."""
    if node.op_type.startswith("QLinear") or node.op_type == "QGemm":
        return position not in _QLINEAR_OPERANDS.get(node.op_type, (0,))
    if node.op_type == "Mul":  # dynamic quantisation multiplies the input's scale by the weight's
        return node.input[1 - position] in scales
    return position in _CONSTANTS.get(node.op_type, ())


def _holds_integers(node: Any) -> bool:
    """Whether integers among a node's inputs are weights; elsewhere they are shapes, indices and axes."""
    return node.op_type in _CONSTANTS or node.op_type.startswith("QLinear") or node.op_type == "QGemm"


def _is_scale(places: list[tuple[Any, int]], scales: frozenset[str]) -> bool:
    """Whether a tensor is a constant of quantisation wherever it is read, but for lookups: an embedding in 8 bits has a
    scale for each row."""
    constant = [_is_constant(node, position, scales) for node, position in places if node.op_type != "Gather"]
    return all(constant) and (bool(constant) or not places)


def trained(model: Any) -> Iterator[tuple[Any, list[tuple[Any, int]], int]]:
    """(tensor, the nodes that read it with the position of the input, numbers in it where several are packed in a byte,
    or else 0) of each trained tensor of an ONNX model. Some exporters, as Paddle's, write weights as Constant nodes;
    such a tensor is given its output's name."""
    for graph in graphs(model.graph):
        readers = uses(graph)
        scales = frozenset(n.output[1] for n in graph.node if n.op_type == "DynamicQuantizeLinear")
        for tensor in (*graph.initializer, *_constants(graph)):
            places = readers.get(tensor.name, [])
            if _is_scale(places, scales):
                continue
            narrow = tensor.data_type in _NARROW and len(tensor.dims) > 1
            if tensor.data_type not in _WIDTHS and not narrow and not any(_holds_integers(node) for node, _ in places):
                continue
            packed = next(
                (node for node, at in _moved(places, readers) if node.op_type == "MatMulNBits" and at == 1), None
            )
            number = 0
            if packed is not None:  # several weights in a byte: their number is in the attributes
                sizes = {a.name: a.i for a in packed.attribute}
                number = sizes["K"] * sizes["N"]
            yield tensor, places, number


def _constants(graph: Any) -> Iterator[Any]:
    """The tensors of Constant nodes that hold several numbers: a single one is a factor of the graph's own."""
    for node in graph.node:
        if node.op_type == "Constant":
            for value in (attribute.t for attribute in node.attribute if attribute.name == "value"):
                if math.prod(value.dims) > 1:
                    value.name = node.output[0]
                    yield value


def float_bytes(model: Any) -> dict[str, int]:
    """Name → bytes of each trained float tensor. External weights are not needed."""
    return {
        tensor.name: math.prod(tensor.dims) * _WIDTHS[tensor.data_type]
        for tensor, _, _ in trained(model)
        if tensor.data_type in _WIDTHS
    }


def _moved(places: list[tuple[Any, int]], readers: dict[str, list[tuple[Any, int]]]) -> Iterator[tuple[Any, int]]:
    """What reads a tensor, and what reads views of it."""
    for node, position in places:
        yield node, position
        if node.op_type == "Reshape" and position == 0:
            yield from readers.get(node.output[0], [])


def graphs(graph: Any) -> Iterator[Any]:
    """The graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from graphs(inner)


def uses(graph: Any) -> dict[str, list[tuple[Any, int]]]:
    """Tensor → the nodes that read it, with the position of the input, in this graph and inside its nodes."""
    found: dict[str, list[tuple[Any, int]]] = {}
    every: Iterable[Any] = (node for inner in graphs(graph) for node in inner.node)
    for node in every:
        for position, name in enumerate(node.input):
            found.setdefault(name, []).append((node, position))
    return found
