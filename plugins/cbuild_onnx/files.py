"""Reading and writing ONNX models: one file ``model.onnx``, weights beyond protobuf's 2 GB in ``model.onnx.data``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto
from onnx.external_data_helper import load_external_data_for_model

from compressbuild.api import UserError

__all__ = ["INLINE_LIMIT", "NAME", "external_files", "find", "is_large", "nodes", "read", "strip", "validate", "write"]

NAME = "model.onnx"
DATA = NAME + ".data"
INLINE_LIMIT = 1_800_000_000  # bytes of weights; protobuf refuses messages of 2 GiB


def find(directory: Path) -> Path:
    """The model in an artifact: ``model.onnx``, or the only ``.onnx`` file."""
    if (directory / NAME).is_file():
        return directory / NAME
    found = sorted(directory.glob("*.onnx"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(f"the artifact must hold one .onnx file, it holds {names}")
    return found[0]


def read(path: Path, *, weights: bool = True) -> ModelProto:
    """Parse a model; with ``weights``, external data is read into it."""
    try:
        return onnx.load(path, load_external_data=weights)
    except Exception as error:  # protobuf's DecodeError, onnx's ValidationError, OSError for data: no common base
        raise UserError(f"'{path.name}' cannot be read as ONNX: {error}") from error


def validate(directory: Path) -> None:
    """ValueError unless the directory holds one valid model with all its external data."""
    try:
        onnx.checker.check_model(find(directory))
    except (UserError, onnx.checker.ValidationError) as error:
        raise ValueError(str(error)) from error


def external_files(model: ModelProto) -> set[str]:
    """Names of the files that hold a model's external tensors, relative to it."""
    return {entry.value for tensor in _tensors(model) for entry in tensor.external_data if entry.key == "location"}


def is_large(path: Path) -> bool:
    """Whether a model keeps weights in other files, or is too large to go without."""
    return path.stat().st_size > INLINE_LIMIT or bool(external_files(read(path, weights=False)))


def write(model: ModelProto, directory: Path, *, weights_from: Path | None = None) -> Path:
    """Write ``directory/model.onnx``, stripped, as bytes that depend on the model alone.

    External tensors that the model refers to are taken from ``weights_from``: inlined if they fit, else written to one
    file beside the model.
    """
    if external_files(model):
        if weights_from is None:
            raise ValueError("the model refers to external data; say where it is")
        load_external_data_for_model(model, str(weights_from))
    strip(model)
    target = directory / NAME
    if model.ByteSize() <= INLINE_LIMIT:
        target.write_bytes(model.SerializeToString(deterministic=True))
    else:
        onnx.save_model(
            model, target, save_as_external_data=True, all_tensors_to_one_file=True, location=DATA, size_threshold=1024
        )
    return target


def copy(source: Path, directory: Path) -> Path:
    """Copy a model and its external data to another directory, as files of their own."""
    for name in external_files(read(source, weights=False)):
        place = directory / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.parent / name, place)
    return Path(shutil.copyfile(source, directory / source.name))


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


def nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Every node, those of subgraphs and functions too."""
    for scope in _scopes(model):
        yield from scope.node


def _scopes(model: ModelProto) -> Iterator[GraphProto | FunctionProto]:
    pending: list[GraphProto | FunctionProto] = [model.graph, *model.functions]
    while pending:
        scope = pending.pop()
        yield scope
        for node in scope.node:
            for attribute in node.attribute:
                pending.extend([attribute.g] if attribute.HasField("g") else attribute.graphs)


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    for scope in _scopes(model):
        if isinstance(scope, GraphProto):
            yield from scope.initializer
        for node in scope.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
