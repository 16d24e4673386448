"""The nodes of an exported graph are named after the torch modules that they come from.

torch's exporter numbers nodes and folded weights, and notes the modules in metadata, which an artifact does not keep.
A node ``node_linear_6`` of the module ``layers.0.down`` becomes ``layers.0.down/node_linear_6``, and the transposed
weight that it reads gets the parameter's name. So reports, profiles and globs speak of layers as the source does.

torch's exporter gives an output its name even if another value or a weight has that name, and ONNX Runtime refuses such
a file. So a graph is exported with inputs and outputs named ``INPUT`` and ``OUTPUT`` plus a number. They get their
names afterwards, and values that had one of these names get another.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from cbuild_onnx.model.files import subgraphs
from onnx import GraphProto, ModelProto, NodeProto
from torch import nn

__all__ = ["INPUT", "OUTPUT", "name_layers", "name_values"]

INPUT, OUTPUT = "cbuild.input.", "cbuild.output."

_SCOPES = "pkg.torch.onnx.name_scopes"
_WRAPPED = "module."
_FOLDED = re.compile(r"val_\d+")
# What lies between a weight and the operator that it is of.
_PASSING = ("Cast", "DequantizeLinear", "QuantizeLinear", "Reshape", "Transpose")


def name_layers(proto: ModelProto, module: nn.Module) -> None:
    """Name nodes and folded weights. ``module``: the one that was exported; the metadata must be there yet."""
    owners = {
        f"{path}.{name}" if path else name: path
        for path, part in module.named_modules(remove_duplicate=False)
        for name, _ in (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False))
    }
    _unwrap(proto, owners)
    modules = dict(module.named_modules(remove_duplicate=False))
    nodes = list(proto.graph.node)  # kept: protobuf makes another object of a node that nobody holds
    made_by = {name: node for node in nodes for name in node.output if name}
    paths = [_scope(node, modules) for node in nodes]
    _name_weights(proto, nodes, modules, paths)
    for node, scope in zip(nodes, paths, strict=True):
        path = _owner(node, made_by, owners) or scope
        if path:
            node.name = f"{path}/{node.name}"


def _unwrap(proto: ModelProto, owners: Mapping[str, str]) -> None:
    """Parameters of a model that was wrapped for the export have the names that they have in the model."""
    names = {tensor.name for tensor in proto.graph.initializer}
    renamed = {
        name: bare
        for name in names - owners.keys()
        if (bare := name.removeprefix(_WRAPPED)) in owners and bare not in names
    }
    for tensor in proto.graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in proto.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def _scope(node: NodeProto, modules: Mapping[str, nn.Module]) -> str:
    """The innermost module that the exporter notes; empty if that is the whole model."""
    noted = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "[]")
    for name in reversed(ast.literal_eval(noted)[:-1]):  # the last is the operator
        path = name if name in modules else name.removeprefix(_WRAPPED)
        if path in modules:
            return str(path)
    return ""


def _owner(node: NodeProto, made_by: Mapping[str, NodeProto], owners: Mapping[str, str]) -> str:
    """The module whose weight a node reads; a BatchNorm that was folded into a convolution is no layer of its own."""
    for name in node.input[1:2]:
        while name not in owners and (maker := made_by.get(name)) is not None and maker.op_type in _PASSING:
            name = maker.input[0]
        if name in owners:
            return owners[name]
    return ""


def _name_weights(
    proto: ModelProto, nodes: Sequence[NodeProto], modules: Mapping[str, nn.Module], paths: Sequence[str]
) -> None:
    """A folded constant that is the transpose of the only matrix of the module that reads it has that matrix' name."""
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    readers = Counter(name for node in proto.graph.node for name in node.input)
    for node, path in zip(nodes, paths, strict=True):
        name = node.input[1] if len(node.input) > 1 else ""
        if node.op_type != "MatMul" or name not in tensors or not _FOLDED.fullmatch(name) or readers[name] > 1:
            continue
        own = [
            (f"{path}.{key}", value)
            for key, value in modules.get(path, nn.Module()).named_parameters(recurse=False)
            if value.dim() == 2 and path
        ]
        if len(own) != 1 or list(own[0][1].shape) != list(reversed(tensors[name].dims)) or own[0][0] in tensors:
            continue
        tensors[own[0][0]] = tensors.pop(name)
        tensors[own[0][0]].name = node.input[1] = own[0][0]


def name_values(proto: ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Give the inputs and outputs their names, in order; any other value of such a name gets ``_value`` at its end."""
    named = {f"{INPUT}{i}": name for i, name in enumerate(inputs)}
    named |= {f"{OUTPUT}{i}": name for i, name in enumerate(outputs)}
    graphs = list(_graphs(proto.graph))
    taken = {name for graph in graphs for name in _defined(graph)} | {*named.values()}
    for name in [name for name in named.values() if name not in named]:
        free = name
        while free in taken:
            free += "_value"
        taken.add(free)
        named[name] = free
    for graph in graphs:
        for value in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
            value.name = named.get(value.name, value.name)
        for node in graph.node:
            node.input[:] = [named.get(name, name) for name in node.input]
            node.output[:] = [named.get(name, name) for name in node.output]


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _graphs(inner)


def _defined(graph: GraphProto) -> Iterator[str]:
    yield from (value.name for value in (*graph.initializer, *graph.input))
    for node in graph.node:
        yield from node.output
