"""Which integer inputs of an ONNX model index a table, and how many rows that table has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ModelProto, NodeProto

__all__ = ["table_rows"]

_SAME = frozenset(["Cast", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"])
_LOOKUPS = ("Gather", "GatherBlockQuantized")
_STORED = frozenset(("Cast", "CastLike", "DequantizeLinear", "Identity"))  # they keep the shape of their first input


def table_rows(model: ModelProto) -> dict[str, int]:
    """Input name → rows of the smallest table that it indexes. Ids that are computed with first, and those that index
    inside ``If``, ``Loop`` or a function, are not followed. Weights are not needed."""
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:  # sorted: what a node takes comes before it
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    shapes[node.output[0]] = tuple(attribute.t.dims)
        elif node.op_type in _STORED and node.input and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    found: dict[str, int] = {}
    for value in graph.input:
        rows = [] if value.name in shapes else _rows(value.name, graph.node, shapes)
        if rows:
            found[value.name] = min(rows)
    return found


def _rows(name: str, nodes: Sequence[NodeProto], shapes: Mapping[str, tuple[int, ...]]) -> list[int]:
    """Rows of the tables that an input indexes."""
    seen, found = {name}, []
    for node in nodes:
        if node.op_type in _LOOKUPS and len(node.input) > 1 and node.input[1] in seen:
            axis = next((a.i for a in node.attribute if a.name in ("axis", "gather_axis")), 0)
            # a table in blocks may be packed or reshaped; it has a row of scales for each of its rows
            shape = shapes.get(node.input[2 if node.op_type == "GatherBlockQuantized" else 0], ())
            if -len(shape) <= axis < len(shape):
                found.append(shape[axis])
        elif node.op_type in _SAME and node.input and node.input[0] in seen:
            seen.update(node.output)
    return found
