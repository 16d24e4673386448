"""Weights of products, and the tables of embeddings that hold the same numbers.

Language models share one weight between the embedding and the head. A file has it once, with a Transpose before the
product, or twice, where an optimiser stored what the Transpose gives.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from . import files

__all__ = ["ProductWeight", "lookups", "own_tables", "product_weight", "tables"]


@dataclass(frozen=True, slots=True)
class ProductWeight:
    """``flipped``: the constant is inputs × outputs, not outputs × inputs."""

    name: str
    flipped: bool


def product_weight(
    node: NodeProto, tensors: Mapping[str, TensorProto], made_by: Mapping[str, NodeProto]
) -> ProductWeight | None:
    """The constant weight of a MatMul or Gemm, which may be read through a Transpose; None if it has no such."""
    if node.op_type not in ("MatMul", "Gemm") or len(node.input) < 2:
        return None
    name = node.input[1]
    flipped = not next((a.i for a in node.attribute if a.name == "transB"), 0)
    maker = made_by.get(name)
    if maker is not None and maker.op_type == "Transpose":
        order = next((helper.get_attribute_value(a) for a in maker.attribute if a.name == "perm"), [1, 0])
        if list(order) != [1, 0]:
            return None
        name, flipped = maker.input[0], not flipped
    found = tensors.get(name)
    return ProductWeight(name, flipped) if found is not None and len(found.dims) == 2 else None


def lookups(model: ModelProto, table: str) -> list[NodeProto]:
    """The Gather nodes that take rows of a table."""
    return [
        node
        for node in model.graph.node
        if node.op_type == "Gather"
        and node.input[0] == table
        and next((a.i for a in node.attribute if a.name == "axis"), 0) == 0
    ]


def tables(model: ModelProto, weights: Iterable[ProductWeight], place: Path) -> dict[ProductWeight, str]:
    """Weight → the table of embeddings whose rows are its outputs. ``place``: the directory of external data."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    read = [node.input[0] for node in model.graph.node if node.op_type == "Gather" and node.input[0] in tensors]
    named = [
        name
        for name in dict.fromkeys(read)
        if len(tensors[name].dims) == 2 and tensors[name].data_type == TensorProto.FLOAT and lookups(model, name)
    ]
    found: dict[ProductWeight, str] = {}
    for weight in dict.fromkeys(weights):
        for name in named:
            if _same_rows(tensors[name], tensors[weight.name], weight.flipped, place):
                found[weight] = name
    return found


def own_tables(model: ModelProto, skipped: Container[str]) -> list[str]:
    """Tables of embeddings, in float, that nothing but lookups reads. ``skipped``: nodes to leave alone, so that a
    table that one of them reads is left out."""
    readers: dict[str, int] = {}
    for node in files.nodes(model):
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    given = {value.name for value in (*model.graph.input, *model.graph.output)}
    found = []
    for tensor in model.graph.initializer:
        if len(tensor.dims) != 2 or tensor.data_type != TensorProto.FLOAT or tensor.name in given:
            continue
        nodes = lookups(model, tensor.name)
        if nodes and len(nodes) == readers[tensor.name] and not any(node.name in skipped for node in nodes):
            found.append(tensor.name)
    return found


def _same_rows(table: TensorProto, weight: TensorProto, flipped: bool, place: Path) -> bool:
    shape = list(reversed(weight.dims)) if flipped else list(weight.dims)
    if list(table.dims) != shape or table.data_type != weight.data_type:
        return False
    if table.name == weight.name:
        return not flipped
    one, other = (numpy_helper.to_array(tensor, str(place)) for tensor in (table, weight))
    return bool(np.array_equal(one, other.T if flipped else other))
