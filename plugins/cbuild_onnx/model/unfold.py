"""Undo what an optimiser folds where it only makes a file larger.

ONNX Runtime stores the result of every node on constants. Where the weight before it stays too, because an embedding
reads it, a Transpose or Reshape of it is a second copy. A session folds it again when it loads the file.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from . import files

__all__ = ["share_tables", "unfold"]

_MOVES = frozenset({"Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_LEAST = 1024  # bytes of a copy that is worth a node


def unfold(source: ModelProto, made: ModelProto, place: Path) -> int:
    """Put nodes of ``source`` back into ``made`` for the constants that are moved copies of others; returns how many.

    ``source``: may be without external weights. ``place``: the directory of the external weights of ``made``.
    """
    stored = {tensor.name: tensor for tensor in made.graph.initializer}
    makers = {name: node for node in source.graph.node for name in node.output if name}
    small = _constants(source)
    count = 0
    for tensor in list(made.graph.initializer):
        chain = _chain(tensor.name, makers, stored)
        if not chain or (files.data_bytes(tensor) or 0) < _LEAST:
            continue
        names = {name for node in chain for name in node.input[1:]}
        if not names <= small.keys() | stored.keys() or not _is_copy(tensor, chain, stored, small, place):
            continue
        made.graph.initializer.remove(tensor)
        for node in chain:
            made.graph.node.add().CopyFrom(node)
        for name in names - stored.keys():
            stored[name] = made.graph.initializer.add()
            stored[name].CopyFrom(small[name])
            stored[name].name = name
        count += 1
    count += share_tables(made, place, known={tensor.name for tensor in source.graph.initializer})
    if count:
        files.sort(made)
    return count


def share_tables(made: ModelProto, place: Path, *, known: Container[str] = ()) -> int:
    """Make each constant that is a copy of a table of embeddings, or its transpose, one that is computed from it;
    returns how many. ``known``: constants to leave as they are. ``place``: the directory of the external weights."""
    read = {node.input[0] for node in made.graph.node if node.op_type == "Gather"}
    stored = {t.name: t for t in made.graph.initializer if len(t.dims) == 2 and (files.data_bytes(t) or 0) >= _LEAST}
    count = 0
    for table in [stored[name] for name in stored if name in read]:
        if table.name not in stored:  # it was a copy itself
            continue
        wanted: np.ndarray | None = None
        for name in sorted(stored.keys() - {table.name}):
            other = stored[name]
            turned = list(other.dims) == list(reversed(table.dims))
            if name in known or other.data_type != table.data_type or not (turned or other.dims == table.dims):
                continue
            wanted = numpy_helper.to_array(table, str(place)) if wanted is None else wanted
            value = numpy_helper.to_array(other, str(place))
            if np.array_equal(value, wanted):
                node = helper.make_node("Identity", [table.name], [name], f"{name}/same")
            elif turned and np.array_equal(value, wanted.T):
                node = helper.make_node("Transpose", [table.name], [name], f"{name}/turn", perm=[1, 0])
            else:
                continue
            made.graph.node.append(node)
            made.graph.initializer.remove(stored.pop(name))
            count += 1
    return count


def _constants(model: ModelProto) -> dict[str, TensorProto]:
    """Small constants of a model: shapes, axes."""
    found = {t.name: t for t in model.graph.initializer if not files.is_external(t)}
    for node in model.graph.node:
        if node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            if value is not None:
                found[node.output[0]] = value
    return found


def _chain(name: str, makers: dict[str, NodeProto], stored: dict[str, TensorProto]) -> list[NodeProto]:
    """The moves that lead from a stored tensor to ``name``, the first first; empty if there are none."""
    chain: list[NodeProto] = []
    while (node := makers.get(name)) is not None and node.op_type in _MOVES:
        chain.insert(0, node)
        name = node.input[0]
        if name in stored:
            return chain
    return []


def _is_copy(
    tensor: TensorProto,
    chain: list[NodeProto],
    stored: dict[str, TensorProto],
    small: dict[str, TensorProto],
    place: Path,
) -> bool:
    """Whether the chain on the tensor where it begins makes just these bytes."""
    origin = stored[chain[0].input[0]]
    if origin.data_type != tensor.data_type or files.data_bytes(origin) != files.data_bytes(tensor):
        return False
    value = numpy_helper.to_array(origin, str(place))
    for node in chain:
        if node.op_type == "Transpose":
            order = next((helper.get_attribute_value(a) for a in node.attribute if a.name == "perm"), None)
            value = np.transpose(value, order)
        elif node.op_type == "Reshape":
            value = np.ascontiguousarray(value).reshape(_shape(node, value, stored, small))
        elif node.op_type != "Identity":
            value = np.ascontiguousarray(value).reshape(-1)  # axes of one: the numbers stay in order
    wanted = numpy_helper.to_array(tensor, str(place))
    return bool(
        np.array_equal(value.reshape(-1).view(np.uint8), np.ascontiguousarray(wanted).reshape(-1).view(np.uint8))
    )


def _shape(
    node: NodeProto, value: np.ndarray, stored: dict[str, TensorProto], small: dict[str, TensorProto]
) -> list[int]:
    asked = numpy_helper.to_array(stored[node.input[1]] if node.input[1] in stored else small[node.input[1]])
    return [value.shape[place] if size == 0 else int(size) for place, size in enumerate(asked)]
