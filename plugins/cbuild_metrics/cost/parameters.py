"""How many trained numbers a model holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from compressbuild.api import Context, Params

__all__ = ["distinct", "graphs", "nonzeros", "parameters", "trained", "uses"]


def parameters(ctx: Context, subject: Path, params: Params) -> dict[str, Any]:
    """``{"value": numbers, "nonzero": those that are not zero}``; a shared tensor counts once, buffers do not."""
    value = nonzero = 0
    for _, array, packed in _weights(ctx, subject):
        value += packed or array.size
        nonzero += packed or _count_nonzero(array)
    return {"value": value, "nonzero": nonzero}


def nonzeros(ctx: Context, subject: Path, params: Params) -> dict[str, Any]:
    """``{"value": numbers that are not zero, "parameters", "density": value / parameters, "per_tensor": {name:
    {"n", "nonzero"}}}``. A quantized weight counts as zero where its integer is 0."""
    found = {
        name: {"n": packed or array.size, "nonzero": packed or _count_nonzero(array)}
        for name, array, packed in _weights(ctx, subject)
    }
    total, value = sum(row["n"] for row in found.values()), sum(row["nonzero"] for row in found.values())
    return {"value": value, "parameters": total, "density": value / total if total else 0.0, "per_tensor": found}


def distinct(ctx: Context, subject: Path, params: Params) -> dict[str, Any]:
    """``{"value": most distinct numbers in one tensor, "bits": ceil(log2 of it), "per_tensor": {name: distinct}}``: how
    far the weights are shared or quantized. Numbers packed several to a byte count as the bytes they are in."""
    import numpy as np

    found = {name: len(np.unique(array)) for name, array, _ in _weights(ctx, subject)}
    value = max(found.values(), default=0)
    return {"value": value, "bits": max(value - 1, 0).bit_length(), "per_tensor": found}


def _count_nonzero(array: Any) -> int:
    import numpy as np

    return int(np.count_nonzero(array))


def _weights(ctx: Context, subject: Path) -> Iterator[tuple[str, Any, int]]:
    """(name, array, numbers in it where several are packed in a byte, or else 0) of each trained tensor."""
    return _torch(ctx, subject) if ctx.kind("subject") == "torch-model" else _onnx(subject)


def _torch(ctx: Context, subject: Path) -> Iterator[tuple[str, Any, int]]:
    from cbuild_torch.model.module import load_model

    for name, parameter in load_model(ctx, subject).named_parameters():
        yield name, parameter.detach().float().numpy(), 0


# Positions of inputs that are not weights: the constants of quantisation, and running statistics as in torch.
_CONSTANTS = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
    "DynamicQuantizeMatMul": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "MatMulNBits": (2, 3, 4),
    "DynamicQuantizeLSTM": (8, 9, 10, 11),
    "BatchNormalization": (3, 4),
}
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


def _onnx(subject: Path) -> Iterator[tuple[str, Any, int]]:
    import onnx
    from onnx import numpy_helper

    named = subject / "model.onnx"
    path = named if named.is_file() else next(iter(sorted(subject.glob("*.onnx"))))
    for tensor, _, number in trained(onnx.load(str(path))):
        yield tensor.name, numpy_helper.to_array(tensor), number


def trained(model: Any) -> Iterator[tuple[Any, list[tuple[Any, int]], int]]:
    """(tensor, the nodes that read it with the position of the input, numbers in it where several are packed in a byte,
    or else 0) of each trained tensor of an ONNX model."""
    from onnx import TensorProto

    floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
    for graph in graphs(model.graph):
        readers = uses(graph)
        scales = frozenset(n.output[1] for n in graph.node if n.op_type == "DynamicQuantizeLinear")
        for tensor in graph.initializer:
            places = readers.get(tensor.name, [])
            if all(_is_constant(node, position, scales) for node, position in places):
                continue
            if tensor.data_type not in floats and not any(_holds_integers(node) for node, _ in places):
                continue
            packed = next((node for node, at in places if node.op_type == "MatMulNBits" and at == 1), None)
            number = 0
            if packed is not None:  # several weights in a byte: their number is in the attributes
                sizes = {a.name: a.i for a in packed.attribute}
                number = sizes["K"] * sizes["N"]
            yield tensor, places, number


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
