"""Where a model joins several values into one: a common scale would lose the small ones."""

from __future__ import annotations

from onnx import ModelProto, helper

__all__ = ["MOVES", "joined"]

MOVES = frozenset({"Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})
_SAME_AXES = frozenset({"Cast", "DequantizeLinear", "Identity", "QuantizeLinear"})


def joined(model: ModelProto) -> dict[str, int]:
    """Output → the axis along which the last operation of it is a Concat. It may be negative."""
    made_by = {name: node for node in model.graph.node for name in node.output if name}
    found: dict[str, int] = {}
    for value in model.graph.output:
        node, orders = made_by.get(value.name), []
        while node is not None and node.op_type in (*_SAME_AXES, "Transpose"):
            if node.op_type == "Transpose":
                orders.append([a.ints for a in node.attribute if a.name == "perm"])
            node = made_by.get(node.input[0])
        if node is None or node.op_type != "Concat" or not all(orders):
            continue
        axis = next((helper.get_attribute_value(a) for a in node.attribute if a.name == "axis"), 0)
        for (order,) in reversed(orders):
            axis = list(order).index(axis % len(order))
        found[value.name] = axis
    return found
