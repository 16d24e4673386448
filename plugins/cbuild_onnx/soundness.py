"""Whether an ONNX file is one that can be worked on, said in one line before a library trips over it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx import GraphProto, ModelProto, TensorProto

from compressbuild.api import UserError

from . import files

__all__ = ["check", "find"]


def find(directory: Path) -> Path:
    """The model in an artifact, checked."""
    path = files.find(directory)
    check(path)
    return path


def check(path: Path) -> ModelProto:
    """The parsed model, without its external data. UserError: it is not ONNX, or cut off; it has no graph; its opset
    is newer than the installed onnx; nodes go in a circle; external data is missing, too short, or outside of the
    artifact (which a file that somebody sent may use to read what it should not)."""
    model = files.read(path, weights=False)
    if not model.graph.node:
        raise UserError(f"'{path.name}' has no nodes", hint="is it an ONNX model, and whole?")
    if not model.graph.output:
        raise UserError(f"'{path.name}' has no outputs", hint="name the values that it is to give as graph outputs")
    known = onnx.defs.onnx_opset_version()
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset > known:
        raise UserError(
            f"'{path.name}' has opset {opset}, onnx {onnx.__version__} knows them up to {known}",
            hint="export it with an older opset, or upgrade onnx and the runtime",
        )
    circle = _in_a_circle(model.graph)
    if circle is not None:
        raise UserError(f"'{path.name}': node {circle} needs its own output: the graph is not acyclic")
    for tensor in files.tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            _check_external(tensor, path.parent)
    return model


def _in_a_circle(graph: GraphProto) -> str | None:
    """A node that can never run because it waits, over others, for itself."""
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
            return f"'{left[0].name}' ({left[0].op_type})"
        left = held
    return None


def _check_external(tensor: TensorProto, directory: Path) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    what = f"the data of tensor '{tensor.name}'"
    absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).is_absolute()
    if absolute or ".." in PurePosixPath(location.replace("\\", "/")).parts:
        raise UserError(
            f"{what} is at '{location}', outside of the model's directory",
            hint="save the model again with its data beside it",
        )
    place = directory / location
    if not place.is_file() or place.is_symlink():
        raise UserError(
            f"{what} should be in '{location}', which is not there", hint="list it under the model's 'files:'"
        )
    try:
        needed = int(entries.get("offset", 0)) + int(entries.get("length", 0))
    except ValueError:
        raise UserError(f"{what} has an offset or a length that is no number") from None
    size = place.stat().st_size
    if needed > size:
        raise UserError(f"{what} ends at byte {needed} of '{location}', which has only {size}", hint="is it cut off?")
