"""The kind ``openvino-ir``: ``model.xml`` (the graph) and ``model.bin`` (the weights).

OpenVINO drops the names of dynamic axes and may reorder the several names of an output, so the IR carries both
in its runtime information, under ``compressbuild``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressbuild.api import UserError

from .plain import plain
from .runtime import openvino

__all__ = ["GRAPH", "WEIGHTS", "Interface", "one_line", "read", "read_onnx", "validate", "write"]

GRAPH, WEIGHTS = "model.xml", "model.bin"
_KEY = "compressbuild"


@dataclass(frozen=True, slots=True)
class Interface:
    """``inputs``: name → shape with names for dynamic axes. ``outputs``: names, in the model's order."""

    inputs: Mapping[str, tuple[int | str, ...]]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, model: Any) -> Interface:
        """As noted in an IR; of one that another tool wrote, as far as it says."""
        if model.has_rt_info([_KEY]):
            noted = json.loads(model.get_rt_info([_KEY]).astype(str))
            return cls({name: tuple(shape) for name, shape in noted["inputs"].items()}, tuple(noted["outputs"]))
        inputs = {
            port.any_name: tuple(
                axis.get_length() if axis.is_static else f"{port.any_name}.{at}"
                for at, axis in enumerate(port.partial_shape)
            )
            for port in model.inputs
        }
        return cls(inputs, tuple(port.any_name for port in model.outputs))

    def note(self, model: Any) -> None:
        text = json.dumps({"inputs": self.inputs, "outputs": self.outputs}, sort_keys=False)
        model.set_rt_info(text, [_KEY])


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
    Interface(inputs, tuple(value.name for value in graph.output)).note(model)
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
        return openvino.Core().read_model(*what)
    except Exception as error:  # OpenVINO raises RuntimeError for all it refuses, and others for what it trips over
        text = one_line(error)
        raise UserError(f"OpenVINO cannot read the model: {text[:600]}", hint=_hint(text)) from error


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
