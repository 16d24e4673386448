"""Reading and writing ONNX models: one file ``model.onnx``, weights of more than a gigabyte in ``model.onnx.data``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from io import BufferedWriter
from pathlib import Path

import onnx
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, helper

from compressbuild.api import UserError

__all__ = [
    "DATA",
    "INLINE_LIMIT",
    "MESSAGE_LIMIT",
    "NAME",
    "data_bytes",
    "drop_dead",
    "drop_unused",
    "external_files",
    "find",
    "is_external",
    "is_large",
    "nodes",
    "pieces",
    "put",
    "raise_ir",
    "read",
    "reads",
    "sort",
    "sparse_tensors",
    "strip",
    "subgraphs",
    "take",
    "take_small",
    "tensors",
    "types",
    "validate",
    "write",
]

NAME = "model.onnx"
DATA = NAME + ".data"
MESSAGE_LIMIT = 1_800_000_000  # bytes of weights; protobuf refuses messages of 2 GiB
INLINE_LIMIT = 1_000_000_000  # of what is written: protobuf holds a message three times meanwhile
_IR = 4  # the first in which weights are no inputs with a default
_SMALL, _ALIGNMENT, _CHUNK = 1024, 64, 1 << 24  # bytes
_PACKED = dict.fromkeys((TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1), 2)
_PACKED |= dict.fromkeys((TensorProto.INT2, TensorProto.UINT2), 4)
"""Data type → values in a byte, where that is more than one."""


def find(directory: Path) -> Path:
    """The model in an artifact: ``model.onnx``, or the only ``.onnx`` file."""
    if (directory / NAME).is_file():
        return directory / NAME
    found = sorted(directory.glob("*.onnx"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(f"the artifact must hold one .onnx file, but it holds {names}")
    return found[0]


def read(path: Path, *, weights: bool = True) -> ModelProto:
    """Parse a model; with ``weights``, external data is read into it."""
    try:
        return onnx.load(path, load_external_data=weights)
    except Exception as error:  # protobuf's DecodeError, onnx's ValidationError, OSError for data: no common base
        text = " ".join(str(error).replace(f"{path.parent}/", "").split())
        raise UserError(
            f"'{path.name}' cannot be read as ONNX: {text}", hint="it may be cut off, or not an ONNX model"
        ) from error


def validate(directory: Path) -> None:
    """ValueError unless the directory holds one valid model with all its external data."""
    try:
        onnx.checker.check_model(find(directory))
    except (UserError, onnx.checker.ValidationError) as error:
        raise ValueError(str(error)) from error


def external_files(model: ModelProto) -> set[str]:
    """Names of the files that hold a model's external tensors, relative to it."""
    return {entry.value for tensor in tensors(model) for entry in tensor.external_data if entry.key == "location"}


def is_large(path: Path) -> bool:
    """Whether a model keeps weights in other files, or is too large to go without."""
    return path.stat().st_size > INLINE_LIMIT or bool(external_files(read(path, weights=False)))


def write(model: ModelProto, directory: Path, *, weights_from: Path | None = None) -> Path:
    """Write ``directory/model.onnx``, stripped and sorted, as bytes that depend on the model alone.

    External tensors that the model refers to are taken from ``weights_from``: inlined if they fit, else copied, without
    reading them into memory, to one file beside the model. The weights of a model that is too large leave ``model``.
    """
    if external_files(model) and weights_from is None:
        raise ValueError("the model refers to external data; say where it is")
    place = weights_from or directory
    # tensor by tensor: to know the size of a message protobuf writes it, and it refuses to write 2 GiB
    total = sum(_span(each, place)[2] if is_external(each) else each.ByteSize() for each in tensors(model))
    if total <= INLINE_LIMIT:
        for tensor in filter(is_external, tensors(model)):
            take(tensor, place)
    raise_ir(model)
    strip(model)
    sort(model)
    target = directory / NAME
    if total > INLINE_LIMIT:
        _move_weights(model, target.with_name(DATA), place)
    target.write_bytes(model.SerializeToString(deterministic=True))
    return target


def raise_ir(model: ModelProto) -> bool:
    """Make an IR version below 4 one in which weights are constants; whether it was."""
    if model.ir_version >= _IR:
        return False
    model.ir_version = _IR
    weights = {tensor.name for tensor in model.graph.initializer}
    for number in reversed(range(len(model.graph.input))):
        if model.graph.input[number].name in weights:
            del model.graph.input[number]
    return True


def is_external(tensor: TensorProto) -> bool:
    """Whether a tensor's data is in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _span(tensor: TensorProto, place: Path) -> tuple[Path, int, int]:
    """File, offset and length in bytes of an external tensor. UserError if the file is elsewhere or too short: the
    model may come from anybody."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = Path(str(entries.get("location", "")))  # protobuf gives bytes for what is not UTF-8
    if location.is_absolute() or ".." in location.parts or not (place / location).is_file():
        raise UserError(
            f"the data of tensor '{tensor.name}' is no file in the model's directory: {str(location)!r}",
            hint="keep external data beside the model",
        )
    size = (place / location).stat().st_size
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", size - offset))
    except ValueError:
        offset = length = -1
    if offset < 0 or length < 0 or offset + length > size:
        raise UserError(
            f"the data of tensor '{tensor.name}' does not fit '{location}', which has {size:,} bytes",
            hint="the file may be cut off, or another model's",
        )
    return place / location, offset, length


def _move_weights(model: ModelProto, data: Path, place: Path) -> None:
    """Put every tensor of a kilobyte or more into ``data``, and a reference to it into the model. Smaller ones stay in
    it, or come in: runtimes read shapes from them before they open other files."""
    take_small(model, place)
    with data.open("wb") as out:
        for tensor in tensors(model):
            if is_external(tensor) or len(tensor.raw_data) >= _SMALL:
                put(tensor, out, pieces(tensor, place))


def put(tensor: TensorProto, out: BufferedWriter, data: Iterable[bytes]) -> None:
    """Append a tensor's data to a file and refer the tensor to it."""
    start = out.seek(-(-out.tell() // _ALIGNMENT) * _ALIGNMENT)
    out.writelines(data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", Path(out.name).name), ("offset", start), ("length", out.tell() - start)):
        tensor.external_data.add(key=key, value=str(value))


def take(tensor: TensorProto, place: Path) -> None:
    """Read an external tensor's data into it."""
    tensor.raw_data = b"".join(pieces(tensor, place))
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def take_small(model: ModelProto, place: Path) -> None:
    """Read external tensors of less than a kilobyte into the model: shapes and the like."""
    for tensor in tensors(model):
        if is_external(tensor) and _span(tensor, place)[2] < _SMALL:
            take(tensor, place)


def pieces(tensor: TensorProto, place: Path) -> Iterator[bytes]:
    """The raw or external data of a tensor, 16 MB at a time."""
    if not is_external(tensor):
        yield tensor.raw_data
        return
    path, offset, length = _span(tensor, place)
    with path.open("rb") as source:
        source.seek(offset)
        for at in range(0, length, _CHUNK):
            yield source.read(min(_CHUNK, length - at))


def strip(model: ModelProto) -> None:
    """Remove doc strings and metadata, which say where a model was made (torch writes stack traces into them)."""
    model.doc_string = ""
    del model.metadata_props[:]
    for scope in _scopes(model):
        scope.doc_string = ""
        del scope.metadata_props[:]
        for node in scope.node:
            node.doc_string = ""
            del node.metadata_props[:]
        values = [*scope.value_info]
        if isinstance(scope, GraphProto):
            values += [*scope.input, *scope.output]
            for tensor in scope.initializer:
                tensor.doc_string = ""
                del tensor.metadata_props[:]
        for value in values:
            value.doc_string = ""
            del value.metadata_props[:]


def sort(model: ModelProto) -> None:
    """Put every node after those it reads from, else in the order it was: quantizers append what they insert."""
    for scope in _scopes(model):
        order = _sorted(list(scope.node))
        if order != list(range(len(order))):
            moved = [NodeProto.FromString(scope.node[index].SerializeToString()) for index in order]
            del scope.node[:]
            scope.node.extend(moved)


def _sorted(found: list[NodeProto]) -> list[int]:
    made_by = {name: index for index, node in enumerate(found) for name in node.output if name}
    placed: dict[int, None] = {}
    for start in range(len(found)):
        pending = [start]
        while pending:
            index = pending[-1]
            producers = (made_by[name] for name in reads(found[index]) if name in made_by)
            missing = next((each for each in producers if each not in placed and each != index), None)
            if missing is not None and len(pending) <= len(found):  # a cycle stays; the checker will name it
                pending.append(missing)
            else:
                placed.setdefault(pending.pop())
    return list(placed)


def drop_unused(model: ModelProto) -> None:
    """Remove the weights that nothing reads, in subgraphs neither."""
    read = {name for node in nodes(model) for name in node.input} | {value.name for value in model.graph.output}
    for number in reversed(range(len(model.graph.initializer))):
        if model.graph.initializer[number].name not in read:
            del model.graph.initializer[number]


def drop_dead(model: ModelProto) -> None:
    """Remove the nodes of the main graph whose results nothing reads, and then the weights that nothing reads."""
    graph = model.graph
    while True:
        read = {name for node in graph.node for name in reads(node)} | {value.name for value in graph.output}
        dead = [number for number, node in enumerate(graph.node) if not read.intersection(node.output)]
        if not dead:
            break
        for number in reversed(dead):
            del graph.node[number]
    drop_unused(model)


def reads(node: NodeProto) -> Iterator[str]:
    """Names of the values that a node reads, those that its subgraphs take from around them too."""
    yield from node.input
    for graph in subgraphs(node):
        for inner in graph.node:
            yield from reads(inner)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The branches and bodies that a node runs."""
    for attribute in node.attribute:
        yield from [attribute.g] if attribute.HasField("g") else attribute.graphs


def nodes(model: ModelProto | FunctionProto) -> Iterator[NodeProto]:
    """Every node, those of subgraphs and functions too."""
    for scope in _scopes(model):
        yield from scope.node


def types(model: ModelProto) -> set[int]:
    """``TensorProto`` data types of every weight, constant and declared value."""
    found = {tensor.data_type for tensor in tensors(model)}
    for scope in _scopes(model):
        values = [*scope.value_info]
        if isinstance(scope, GraphProto):
            values += [*scope.input, *scope.output]
        found.update(value.type.tensor_type.elem_type for value in values)
    return found


def _scopes(model: ModelProto | FunctionProto) -> Iterator[GraphProto | FunctionProto]:
    pending: list[GraphProto | FunctionProto] = (
        [model.graph, *model.functions] if isinstance(model, ModelProto) else [model]
    )
    while pending:
        scope = pending.pop()
        yield scope
        for node in scope.node:
            pending.extend(subgraphs(node))


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every weight and constant, those of subgraphs too."""
    for scope in _scopes(model):
        if isinstance(scope, GraphProto):
            yield from scope.initializer
        for node in scope.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def data_bytes(tensor: TensorProto) -> int | None:
    """How long a tensor's raw or external data has to be for its shape; None where the type does not say."""
    if tensor.data_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        return None
    size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return -(-math.prod(tensor.dims) * size // _PACKED.get(tensor.data_type, 1))


def sparse_tensors(model: ModelProto) -> Iterator[SparseTensorProto]:
    """Every sparse weight and constant, which :func:`tensors` leaves out."""
    for scope in _scopes(model):
        if isinstance(scope, GraphProto):
            yield from scope.sparse_initializer
        for node in scope.node:
            for attribute in node.attribute:
                if attribute.HasField("sparse_tensor"):
                    yield attribute.sparse_tensor
                yield from attribute.sparse_tensors
