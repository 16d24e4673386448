"""A weight that an embedding and a head share, under ONNX Runtime's quantizers: in 8 bits, and stored once.

They quantize the head's weight and leave the table in float. What they made of the head serves the table too: a lookup
takes rows of integers and dequantizes only these.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..model import files
from ..model.shared import lookups, product_weight, tables

__all__ = ["Tie", "part", "tie"]


@dataclass(frozen=True, slots=True)
class Tie:
    """``weight``: of the product, inputs × outputs if ``flipped``; ``gathers``: names of the lookups in ``table``."""

    weight: str
    flipped: bool
    table: str
    gathers: tuple[str, ...]


def part(model: Path, operators: list[str], skipped: list[str]) -> list[Tie]:
    """What products and lookups share. In the file at ``model``, the products then read a weight of their own, for a
    quantizer gives a name one scheme. ``operators``, ``skipped``: types of what is quantized, names of what is not."""
    proto = files.read(model, weights=False)
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    read = {node.name: weight for node in proto.graph.node if (weight := product_weight(node, tensors, {})) is not None}
    quantized = {
        read[node.name]
        for node in proto.graph.node
        if node.name in read and node.op_type in operators and node.name not in skipped
    }
    ties = []
    for weight, table in tables(proto, read.values(), model.parent).items():
        gathers = [node.name for node in lookups(proto, table)] if weight in quantized else []
        if set(gathers) & set(skipped):
            continue
        own = weight.name
        if own == table:
            own = f"{table}/head"
            proto.graph.initializer.add().CopyFrom(tensors[table])
            proto.graph.initializer[-1].name = own
            for node in proto.graph.node:
                if read.get(node.name) == weight:
                    node.input[1] = own
        ties.append(Tie(own, weight.flipped, table, tuple(gathers)))
    if ties:
        model.write_bytes(proto.SerializeToString())
    return ties


def tie(made: ModelProto, ties: list[Tie], *, constants_first: bool) -> int:
    """Let lookups read what a quantizer stored for the product; returns how many tables are 8-bit now.

    ``constants_first``: a DequantizeLinear reads a constant, as TensorRT wants it, and a Transpose follows; else the
    Transpose of the integers comes first, which a runtime folds, so that its fusions find what they look for.
    """
    stored = {tensor.name: tensor for tensor in made.graph.initializer}
    count = 0
    for each in ties:
        if f"{each.weight}_quantized" in stored:
            _share(made, each, stored, constants_first)
            count += 1
        elif each.weight in stored and each.table in stored:
            _share_floats(made, each, stored)
    if ties:
        files.drop_dead(made)
        files.sort(made)
    return count


def _share(made: ModelProto, each: Tie, stored: dict[str, TensorProto], constants_first: bool) -> None:
    scale, zero = (numpy_helper.to_array(stored[f"{each.weight}_{part}"]) for part in ("scale", "zero_point"))
    rows = f"{each.weight}_quantized"
    if each.flipped:
        tensor, rows = stored[rows], f"{each.table}_quantized"
        turned = np.ascontiguousarray(numpy_helper.to_array(tensor).T)
        made.graph.initializer.remove(tensor)
        made.graph.initializer.append(numpy_helper.from_array(turned, rows))
        if not (constants_first and _turn_floats(made, each, rows)):
            made.graph.node.append(helper.make_node("Transpose", [rows], [tensor.name], f"{rows}/turn", perm=[1, 0]))
    scales = [f"{each.weight}_scale", f"{each.weight}_zero_point"]
    for gather in [node for node in made.graph.node if node.name in each.gathers]:
        lookup = _whole if scale.size == 1 else _by_row
        nodes = lookup(gather, rows, scales, offset=bool(np.any(zero)), kind=stored[f"{each.weight}_scale"].data_type)
        made.graph.node.remove(gather)
        made.graph.node.extend(nodes)


def _turn_floats(made: ModelProto, each: Tie, rows: str) -> bool:
    """Dequantize the rows and turn the result, instead of the other way round; whether a DequantizeLinear is there."""
    old = f"{each.weight}_quantized"
    node = next((n for n in made.graph.node if n.op_type == "DequantizeLinear" and n.input[0] == old), None)
    if node is None:
        return False
    turned, node.input[0] = node.output[0], rows
    node.output[0] = f"{rows}/float"
    for attribute in node.attribute:
        if attribute.name == "axis":
            attribute.i = 0
    made.graph.node.append(helper.make_node("Transpose", [node.output[0]], [turned], f"{rows}/turn", perm=[1, 0]))
    return True


def _whole(gather: NodeProto, rows: str, scales: list[str], **form: object) -> list[NodeProto]:
    """One scale for the table."""
    name = gather.name
    return [
        helper.make_node("Gather", [rows, gather.input[1]], [f"{name}/rows"], name, axis=0),
        helper.make_node("DequantizeLinear", [f"{name}/rows", *scales], list(gather.output), f"{name}/dequantize"),
    ]


def _by_row(gather: NodeProto, rows: str, scales: list[str], *, offset: bool, kind: int) -> list[NodeProto]:
    """A scale, and where ``offset`` says so a zero point, for each row. DequantizeLinear knows no scales that differ
    from one place of a value to the next."""
    name, ids = gather.name, gather.input[1]
    axis = helper.make_tensor(f"{name}/last", TensorProto.INT64, [1], [-1])
    made = [
        helper.make_node("Constant", [], [f"{name}/last"], f"{name}/last", value=axis),
        helper.make_node("Gather", [rows, ids], [f"{name}/rows"], name, axis=0),
        helper.make_node("Cast", [f"{name}/rows"], [f"{name}/values"], f"{name}/values", to=kind),
    ]
    value = f"{name}/values"
    if offset:
        made += [
            helper.make_node("Gather", [scales[1], ids], [f"{name}/zeros"], f"{name}/zeros", axis=0),
            helper.make_node("Cast", [f"{name}/zeros"], [f"{name}/zero"], f"{name}/zero", to=kind),
            helper.make_node("Unsqueeze", [f"{name}/zero", f"{name}/last"], [f"{name}/zero_of"], f"{name}/zero_of"),
            helper.make_node("Sub", [value, f"{name}/zero_of"], [f"{name}/centred"], f"{name}/centred"),
        ]
        value = f"{name}/centred"
    return [
        *made,
        helper.make_node("Gather", [scales[0], ids], [f"{name}/scales"], f"{name}/scales", axis=0),
        helper.make_node("Unsqueeze", [f"{name}/scales", f"{name}/last"], [f"{name}/scale_of"], f"{name}/scale_of"),
        helper.make_node("Mul", [value, f"{name}/scale_of"], list(gather.output), f"{name}/dequantize"),
    ]


def _share_floats(made: ModelProto, each: Tie, stored: dict[str, TensorProto]) -> None:
    """The product stayed in float: it reads the table."""
    made.graph.initializer.remove(stored[each.weight])
    operator = "Transpose" if each.flipped else "Identity"
    options = {"perm": [1, 0]} if each.flipped else {}
    made.graph.node.append(helper.make_node(operator, [each.table], [each.weight], f"{each.table}/shared", **options))
