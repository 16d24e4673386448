"""The arithmetic of an ONNX model: its multiply-accumulates of 8-bit integers, and those of floats.

What the model says is what counts: an operator of integers, or a product of two tensors that were both dequantized,
which runtimes fuse into one (ONNX's QDQ form). A runtime that does not fuse them computes in floats none the less.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

from compressbuild.api import Context, Macs

from .files import find
from .macs import contractions, shapes

__all__ = ["INTEGER", "count"]

INTEGER = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
    }
)
"""Operators that multiply 8-bit integers."""
_FUSED = frozenset({"Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"})  # between dequantized operands
_MOVES = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})  # the same numbers
_WIDER = frozenset({TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32})  # what is quantized to more than 8 bits
_AS_INT8 = 4  # MatMulNBits: accuracy_level, in which the other operand is rounded to int8


def count(ctx: Context, model: Path, axes: Mapping[str, int]) -> Macs:
    """What one sample takes, of ``float`` and of ``int8``."""
    path = find(model)
    events, sample = shapes(path, ctx.scratch, axes)
    graph = onnx.load(str(path), load_external_data=False).graph
    nodes, types = {node.name: node for node in graph.node}, _Types(graph)
    counted: list[tuple[str, str, int]] = []
    unknown: set[str] = set()
    for operator, name, macs in contractions(path, events):
        if macs is None:
            unknown.add(operator)
            continue
        kind = "int8" if operator in INTEGER or types.is_integer(nodes.get(name)) else "float"
        counted.append((operator, kind, macs))
    return Macs.of_run(counted, batch=sample.batch, axes=sample.axes, uncounted=unknown)


class _Types:
    """Which tensors of a graph are 8-bit integers that were dequantized."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._makers = {output: node for node in graph.node for output in node.output}
        self._stored = {tensor.name: tensor.data_type for tensor in graph.initializer}

    def is_integer(self, node: onnx.NodeProto | None) -> bool:
        """Whether a node multiplies 8-bit integers by 8-bit integers."""
        if node is None:
            return False
        if node.op_type == "MatMulNBits":
            return any(a.name == "accuracy_level" and a.i == _AS_INT8 for a in node.attribute)
        return node.op_type in _FUSED and all(self._is_dequantized(name) for name in node.input[:2])

    def _is_dequantized(self, name: str) -> bool:
        maker: Any = self._makers.get(name)
        while maker is not None and maker.op_type in _MOVES:
            maker = self._makers.get(maker.input[0])
        if maker is None or maker.op_type != "DequantizeLinear":
            return False
        point = maker.input[2] if len(maker.input) > 2 else ""  # of the type of what is dequantized
        return self._stored.get(maker.input[0], self._stored.get(point)) not in _WIDER
