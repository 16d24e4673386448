"""What the standard forbids in a graph and runtimes judge differently: one crashes, one refuses, one picks a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from onnx import FunctionProto, GraphProto, ModelProto, TensorProto

from . import files

__all__ = ["faults"]


def faults(model: ModelProto) -> Iterator[str]:
    """What is wrong with a model, each in the model's own names."""
    for scope in (model.graph, *model.functions):
        yield from _names(scope, frozenset())
    for value in model.graph.input:
        if value.type.WhichOneof("value") is None:
            yield f"input '{value.name}' has no type"
    yield from _circle(model.graph)
    yield from _recursion(model)
    for tensor in files.tensors(model):
        yield from _size(tensor)
    for sparse in files.sparse_tensors(model):
        if TensorProto.EXTERNAL in (sparse.values.data_location, sparse.indices.data_location):
            yield f"sparse tensor '{sparse.values.name}' has its data in another file, which only dense ones may"


def _names(scope: GraphProto | FunctionProto, outer: frozenset[str]) -> Iterator[str]:
    """Names written twice, and names read but never written. ``outer``: names that a subgraph sees around it."""
    made = Counter(name for node in scope.node for name in node.output if name)
    if isinstance(scope, GraphProto):
        inputs = Counter(value.name for value in scope.input)
        weights = Counter(tensor.name for tensor in scope.initializer)
        weights.update(tensor.values.name for tensor in scope.sparse_initializer)
        for what, counted in (("inputs", inputs), ("weights", weights)):
            yield from (f"two {what} are called '{name}'" for name, count in counted.items() if count > 1)
        made += inputs | weights  # a weight of an input's name is its default
        outputs = [value.name for value in scope.output]
    else:
        made.update(scope.input)
        outputs = list(scope.output)
    yield from (f"'{name}' is written twice" for name, count in made.items() if count > 1)
    known = outer | made.keys()
    for node in scope.node:
        for name in node.input:
            if name and name not in known:
                yield f"node '{node.name}' ({node.op_type}) reads '{name}', which nothing writes"
        for graph in files.subgraphs(node):
            yield from _names(graph, known)
    yield from (f"nothing writes the output '{name}'" for name in outputs if name not in known)


def _circle(graph: GraphProto) -> Iterator[str]:
    """A node that can never run because it waits, through others, for itself."""
    waiting = {name for node in graph.node for name in node.output if name}
    left = list(graph.node)
    while left:
        held = []
        for node in left:  # in one pass, if they are in order
            if waiting.isdisjoint(files.reads(node)):
                waiting.difference_update(node.output)
            else:
                held.append(node)
        if len(held) == len(left):
            yield f"node '{left[0].name}' ({left[0].op_type}) needs its own output: the graph is not acyclic"
            return
        left = held


def _recursion(model: ModelProto) -> Iterator[str]:
    calls = {
        (function.domain, function.name): {(node.domain, node.op_type) for node in files.nodes(function)}
        for function in model.functions
    }
    while calls:
        leaves = [name for name, called in calls.items() if called.isdisjoint(calls)]
        if not leaves:
            yield f"function '{next(iter(calls))[1]}' calls itself, directly or through others"
            return
        for name in leaves:
            del calls[name]


def _size(tensor: TensorProto) -> Iterator[str]:
    """Data that is not as long as the shape says, in the file or beside it."""
    shape = list(tensor.dims)
    if min(shape, default=0) < 0:
        yield f"tensor '{tensor.name}' has the shape {shape}"
        return
    length = next((entry.value for entry in tensor.external_data if entry.key == "length"), "")
    found, wanted = int(length) if length.isdigit() else len(tensor.raw_data), files.data_bytes(tensor)
    if found and wanted is not None and found != wanted:
        yield f"tensor '{tensor.name}' of shape {shape} needs {wanted} bytes of data and has {found}"
