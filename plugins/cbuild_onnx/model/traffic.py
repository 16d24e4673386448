"""Bytes of weights that a run of an ONNX model has to read, each once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from compressbuild.api import Context

from .files import find
from .macs import shapes
from .trained import graphs, uses

__all__ = ["weights_read"]

_PACKED = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}  # bits of a number
_PASSED_ON = ("Cast", "DequantizeLinear", "Identity")  # compute a row of their output from that row alone


def weights_read(ctx: Context, model: Path, axes: Mapping[str, int], batch: int) -> int:
    """Bytes of all constants as they are stored; of a table that is only looked up in, those of the rows."""
    path = find(model)
    events, _ = shapes(path, ctx.scratch, axes, batch)
    gathered = {
        event["name"].removesuffix("_kernel_time"): _elements(event["args"]["output_type_shape"])
        for event in events
        if event["args"]["op_name"] == "Gather"
    }
    total = 0.0
    for graph in graphs(onnx.load(str(path), load_external_data=False).graph):
        readers = uses(graph)
        for name, tensor in _constants(graph):
            looked_up, numbers = _looked_up(name, readers, gathered), math.prod(tensor.dims)
            share = 1.0 if looked_up is None or not numbers else min(1.0, looked_up / numbers)
            total += share * _bytes(tensor)
    return round(total)


def _looked_up(name: str, readers: Mapping[str, list[tuple[Any, int]]], gathered: Mapping[str, int]) -> int | None:
    """Numbers that are taken out of a tensor by index; None if anything reads all of it."""
    total = 0
    for node, position in readers.get(name, ()):
        if position == 0 and node.op_type == "Gather" and node.name in gathered:
            total += gathered[node.name]
        elif position == 0 and node.op_type in _PASSED_ON:
            found = _looked_up(node.output[0], readers, gathered)
            if found is None:
                return None
            total += found
        else:
            return None
    return total


def _constants(graph: Any) -> Iterator[tuple[str, TensorProto]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield node.output[0], attribute.t


def _bytes(tensor: TensorProto) -> int:
    numbers = math.prod(tensor.dims)
    bits = _PACKED.get(TensorProto.DataType.Name(tensor.data_type))
    if bits is not None:
        return math.ceil(numbers * bits / 8)
    return numbers * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _elements(entries: list[dict[str, list[int]]]) -> int:
    return sum(math.prod(shape) for entry in entries for shape in entry.values())
