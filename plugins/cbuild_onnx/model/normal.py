"""A model in the one form that the quantizers know: every node named, weights as initializers, plain Gemm, opset 13.

Files of other makers differ in all of these, and a quantizer that works by names or looks for weights silently skips
them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from compressbuild.api import Context, UserError

from . import files

__all__ = ["OPSET", "name_nodes", "normal", "opset_of", "with_constant_weights"]

OPSET = 13  # DequantizeLinear per channel


def opset_of(model: ModelProto) -> int:
    """Of ONNX's own operators; 0 if the file does not say."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def normal(ctx: Context, source: Path) -> Path:
    """The model, or a copy in the scratch directory where something was not in form. UserError for weights in float64,
    and for an old opset that onnx cannot convert."""
    proto = files.read(source, weights=False)
    _check_types(proto)
    changed = [files.raise_ir(proto), _constants_to_initializers(proto), name_nodes(proto), _plain_gemms(proto, source)]
    if 0 < opset_of(proto) < OPSET:
        proto = _converted(proto, source)
        name_nodes(proto)
        changed.append(1)
    return _written(ctx, proto, source) if any(changed) else source


def with_constant_weights(ctx: Context, source: Path) -> Path:
    """The model, or a copy in the scratch directory where it lists weights among its inputs, as IR 3 must. Libraries
    that replace weights leave such inputs behind, and the file is then not valid."""
    proto = files.read(source, weights=False)
    return _written(ctx, proto, source) if files.raise_ir(proto) else source


def _written(ctx: Context, proto: ModelProto, source: Path) -> Path:
    place = ctx.scratch / "normal"
    place.mkdir(exist_ok=True)
    return files.write(proto, place, weights_from=source.parent)


def _check_types(model: ModelProto) -> None:
    products = {name for node in files.nodes(model) for name in node.input[1:2]}
    weights = [tensor for tensor in files.tensors(model) if tensor.name in products or not tensor.name]
    wide = next((tensor for tensor in weights if tensor.data_type == TensorProto.DOUBLE and len(tensor.dims) > 1), None)
    if wide is not None and all(t.data_type != TensorProto.FLOAT or len(t.dims) < 2 for t in weights):
        raise UserError(
            f"the weights are float64 ('{wide.name or 'a constant'}'), and quantizers take float32",
            hint="save it in float32: in torch 'model.float()' before the export, in numpy '.astype(np.float32)'",
        )


def _constants_to_initializers(model: ModelProto) -> int:
    graph, places = model.graph, []
    for number, node in enumerate(graph.node):
        value = next((a.t for a in node.attribute if a.name == "value"), None) if node.op_type == "Constant" else None
        if value is not None and value.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
            tensor = graph.initializer.add()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
            places.append(number)
    made = {graph.node[number].output[0] for number in places} & {value.name for value in graph.output}
    if made:  # an output must be made by a node
        for tensor in [t for t in graph.initializer if t.name in made]:
            graph.initializer.remove(tensor)
        places = [number for number in places if graph.node[number].output[0] not in made]
    for number in reversed(places):
        del graph.node[number]
    return len(places)


def name_nodes(model: ModelProto) -> int:
    """Give nodes without a name, or with one that another has, that of their first output; returns how many."""
    taken = {node.name for node in files.nodes(model) if node.name}
    seen: set[str] = set()
    count = 0
    for node in files.nodes(model):
        if not node.name or node.name in seen:
            stem = next((name for name in node.output if name), node.op_type)
            name, number = stem, 1
            while name in taken:
                number += 1
                name = f"{stem}#{number}"
            node.name = name
            taken.add(name)
            count += 1
        seen.add(node.name)
    return count


def _plain_gemms(model: ModelProto, source: Path) -> int:
    """Fold alpha into the weight and beta into the bias, where these are constants: quantizers drop them."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    count = 0
    for node in model.graph.node:
        if node.op_type != "Gemm":
            continue
        for position, name in ((1, "alpha"), (2, "beta")):
            factor = next((attribute for attribute in node.attribute if attribute.name == name), None)
            value = node.input[position] if len(node.input) > position else ""
            if factor is None or factor.f == 1.0 or (position == 1 and value not in tensors):
                continue
            if value and value not in tensors:
                continue
            if value:
                _scale(model, node, position, tensors[value], factor.f, source)
            node.attribute.remove(factor)
            count += 1
    if count:
        files.drop_unused(model)
    return count


def _scale(model: ModelProto, node: NodeProto, place: int, tensor: TensorProto, factor: float, source: Path) -> None:
    array = numpy_helper.to_array(tensor, str(source.parent))
    name = f"{tensor.name}/{node.name}/{place}"
    model.graph.initializer.append(numpy_helper.from_array((array * np.float32(factor)).astype(array.dtype), name))
    node.input[place] = name


def _converted(model: ModelProto, source: Path) -> ModelProto:
    opset = opset_of(model)
    try:
        for tensor in filter(files.is_external, files.tensors(model)):
            files.take(tensor, source.parent)
        made: ModelProto = onnx.version_converter.convert_version(model, OPSET)
        onnx.checker.check_model(made)
    except Exception as error:  # the converter raises RuntimeError and onnx's own classes
        text = " ".join(str(error).split())[:200]
        raise UserError(
            f"the model has opset {opset}, quantization needs {OPSET}, and onnx cannot convert it: {text}",
            hint=f"export it with opset {OPSET} or newer, or replace the operator that it names",
        ) from error
    return made
