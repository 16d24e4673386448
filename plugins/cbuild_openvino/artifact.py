"""The kind ``openvino-ir``: ``model.xml`` (the graph) and ``model.bin`` (the weights).

OpenVINO drops the names of dynamic axes and may reorder the several names of an output, so the IR carries both
in its runtime information, under ``compressbuild``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.interface import Interface

from compressbuild.api import ModelInput, UserError

from .plain import plain
from .ranks import settle_ranks
from .runtime import openvino
from .signs import keep_signs

__all__ = ["GRAPH", "WEIGHTS", "fed", "interface", "note", "one_line", "read", "read_onnx", "validate", "write"]

GRAPH, WEIGHTS = "model.xml", "model.bin"
_KEY = "compressbuild"


def interface(model: Any) -> Interface:
    """As noted in an IR; of one that another tool wrote, as far as it says. An input of a type that numpy does not know
    has OpenVINO's name of it: see :func:`fed`."""
    dtypes = {name: _dtype(port) for port in model.inputs for name in port.names}
    if model.has_rt_info([_KEY]):
        noted = json.loads(model.get_rt_info([_KEY]).astype(str))
        shapes, outputs = noted["inputs"], noted["outputs"]
    else:
        shapes = {port.any_name: _axes(port) for port in model.inputs}
        outputs = [port.any_name for port in model.outputs]
    inputs = tuple(ModelInput(name, tuple(shape), dtypes[name]) for name, shape in shapes.items())
    return Interface(inputs, tuple(outputs))


def fed(model: Any) -> Interface:
    """The interface of a model that is given arrays. UserError for an input that numpy cannot hold."""
    found = interface(model)
    for item in found.inputs:
        try:
            np.dtype(item.dtype)
        except TypeError:
            raise UserError(
                f"input '{item.name}' is of type {item.dtype}, which numpy cannot hold",
                hint="inputs can be numbers or booleans",
            ) from None
    return found


def note(model: Any, shapes: Mapping[str, tuple[int | str, ...]], outputs: Iterable[str]) -> None:
    """Write into a model what OpenVINO drops. ``shapes``: of its inputs by name."""
    text = json.dumps({"inputs": shapes, "outputs": list(outputs)}, sort_keys=False)
    model.set_rt_info(text, [_KEY])


def _axes(port: Any) -> tuple[int | str, ...]:
    return tuple(
        axis.get_length() if axis.is_static else f"{port.any_name}.{at}" for at, axis in enumerate(port.partial_shape)
    )


def _dtype(port: Any) -> str:
    try:
        return np.dtype(port.element_type.to_dtype()).name
    except (RuntimeError, TypeError):
        return str(port.element_type.get_type_name())


def one_line(error: BaseException) -> str:
    """OpenVINO's message, without positions in its source, paths and line breaks."""
    text = str(error)
    text = re.sub(r"(Exception from|Check '.*?' failed at) \S+:\d+:?", "", text)
    text = re.sub(r"/\S*/([^/\s]+)", r"\1", text)
    return re.sub(r"\s+", " ", text).strip() or type(error).__name__


def read_onnx(path: Path, scratch: Path) -> Any:
    """An ONNX file as OpenVINO's model, its interface noted. UserError if OpenVINO cannot take it."""
    place, graph = plain(path, scratch)
    model = _read(str(place))
    weights = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: _shape(value) for value in graph.input if value.name not in weights}
    note(model, inputs, (value.name for value in graph.output))
    return model


def _shape(value: Any) -> tuple[int | str, ...]:
    return tuple(
        axis.dim_value if axis.HasField("dim_value") else (axis.dim_param or f"{value.name}.{at}")
        for at, axis in enumerate(value.type.tensor_type.shape.dim)
    )


def read(directory: Path, weights: Any = None) -> Any:
    """The model of an IR artifact. ``weights``: a tensor of the bytes of its file of weights, to be read in its place;
    the model is good for as long as that is."""
    graph = directory / GRAPH
    return _read(str(graph)) if weights is None else _read(graph.read_bytes(), weights)


def _read(*what: Any) -> Any:
    try:
        model = openvino.Core().read_model(*what)
    except Exception as error:  # OpenVINO raises RuntimeError for all it refuses, and others for what it trips over
        text = one_line(error)
        raise UserError(f"OpenVINO cannot read the model: {text[:600]}", hint=_hint(text)) from error
    settle_ranks(model)
    keep_signs(model)
    return model


def _hint(text: str) -> str:
    if "not support" in text or "No conversion rule" in text:
        return "the operator is of another runtime's own domain, or is newer than this OpenVINO"
    return "export it with another opset or type, or choose a backend that takes it"


def write(model: Any, directory: Path, *, compress_to_fp16: bool = False) -> None:
    """Write ``model.xml`` and ``model.bin``."""
    openvino.save_model(model, str(directory / GRAPH), compress_to_fp16=compress_to_fp16)


def validate(directory: Path) -> None:
    """ValueError unless OpenVINO reads the artifact."""
    try:
        model = read(directory)
    except UserError as error:
        raise ValueError(str(error)) from error
    if not model.inputs or not model.outputs:
        raise ValueError("model.xml has no inputs or no outputs")
