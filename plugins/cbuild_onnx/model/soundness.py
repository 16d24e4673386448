"""Whether an ONNX file is usable: the fault in one line, before a library trips over it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx import ModelProto, TensorProto

from compressbuild.api import UserError

from . import files
from .faults import faults

__all__ = ["check", "complaint", "find"]


def find(directory: Path) -> Path:
    """The model in an artifact, checked."""
    path = files.find(directory)
    check(path)
    return path


def check(path: Path) -> ModelProto:
    """The parsed model, without its external data. UserError: it is not ONNX, or cut off; it has no graph; its opset
    is newer than the installed onnx; it has :func:`~cbuild_onnx.model.faults.faults`; external data is missing,
    too short, or outside the artifact (which a file that somebody sent may use to read what it should not)."""
    model = files.read(path, weights=False)
    if not model.graph.node:
        raise UserError(f"'{path.name}' has no nodes", hint="it may be cut off, or not an ONNX model")
    if not model.graph.output:
        raise UserError(f"'{path.name}' has no outputs", hint="declare its results as graph outputs")
    known = onnx.defs.onnx_opset_version()
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset > known:
        raise UserError(
            f"'{path.name}' has opset {opset}, onnx {onnx.__version__} knows them up to {known}",
            hint="export it with an older opset, or upgrade onnx and the runtime",
        )
    for tensor in files.tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            _check_external(tensor, path.parent)
    wrong = next(faults(model), None)
    if wrong is not None:
        raise UserError(f"'{path.name}': {wrong}", hint="ONNX forbids it: fix the program that wrote the file")
    return model


def complaint(path: Path) -> str:
    """A hint for a model that a runtime refuses for reasons of its own: what onnx's checker says of it, if anything."""
    try:
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as error:
        text = " ".join(str(error).partition("==>")[0].split())
        if "is required but missing" not in text:  # shapes of outputs, without which runtimes do
            return f"onnx's checker rejects the file: {text[:300]}"
    return "export it with another opset or type, or choose a backend that takes it"


def _check_external(tensor: TensorProto, directory: Path) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    what = f"the data of tensor '{tensor.name}'"
    absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).is_absolute()
    if absolute or ".." in PurePosixPath(location.replace("\\", "/")).parts:
        raise UserError(
            f"{what} is at '{location}', outside the model's directory",
            hint="save the model again with its data beside it",
        )
    place = directory / location
    if "\0" in location or not place.is_file() or not _is_inside(place, directory):
        raise UserError(
            f"{what} should be in '{location}', which does not exist", hint="list it under the model's 'files:'"
        )
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries["length"]) if "length" in entries else files.data_bytes(tensor) or 0
        if min(offset, length) < 0:
            raise ValueError
    except ValueError:
        raise UserError(
            f"{what} has an offset or a length that is not a number of bytes", hint="save the model again"
        ) from None
    needed, size = offset + length, place.stat().st_size
    if needed > size:
        raise UserError(
            f"{what} ends at byte {needed} of '{location}', which has only {size}",
            hint="it may be cut off: copy or save it again",
        )


def _is_inside(place: Path, directory: Path) -> bool:
    """Whether no link leads out of the directory."""
    return place.resolve() == directory.resolve() / place.relative_to(directory)
