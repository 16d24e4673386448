"""Which integer inputs of an IR index a table, and how many rows that table has."""

from __future__ import annotations

from typing import Any

from .artifact import interface

__all__ = ["table_rows"]

_SAME = frozenset(["Broadcast", "Convert", "Reshape", "Slice", "Squeeze", "StridedSlice", "Transpose", "Unsqueeze"])


def table_rows(model: Any) -> dict[str, int]:
    """Input name → rows of the smallest table that it indexes. Ids that are computed with first are not followed."""
    origin: dict[str, str] = {}  # node → the input whose values it has
    declared = [item.name for item in interface(model).inputs]
    for port in model.inputs:
        names = [name for name in declared if name in port.names]
        origin[port.node.get_name()] = names[0] if names else port.any_name
    found: dict[str, int] = {}
    for node in model.get_ordered_ops():
        takes = [item.get_source_output() for item in node.inputs()]
        if node.get_type_name() in _SAME and takes[0].node.get_name() in origin:
            origin[node.get_name()] = origin[takes[0].node.get_name()]
        elif node.get_type_name() == "Gather" and takes[1].node.get_name() in origin:
            name, rows = origin[takes[1].node.get_name()], _size(takes[0], takes[2].node)
            if rows:
                found[name] = min(rows, found.get(name, rows))
    return found


def _size(table: Any, axis: Any) -> int | None:
    """Of the axis of a table, where both are known."""
    shape = table.partial_shape
    if axis.get_type_name() != "Constant" or shape.rank.is_dynamic:
        return None
    size = shape[int(axis.data.reshape(-1)[0])]
    return int(size.get_length()) if size.is_static else None
