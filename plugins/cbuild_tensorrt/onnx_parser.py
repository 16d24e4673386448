"""ONNX → TensorRT network, with the parser's complaints put in the model's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressbuild.api import UserError

from .logs import Sink, readable

__all__ = ["onnx_file", "parse"]

_SHOWN = 3


def onnx_file(directory: Path) -> Path:
    """The model of an artifact: ``model.onnx``, or the only ``.onnx`` file there."""
    named = directory / "model.onnx"
    if named.is_file():
        return named
    found = sorted(directory.glob("*.onnx"))
    if len(found) != 1:
        raise UserError(f"the artifact has {len(found)} .onnx files, one is needed", hint="name it model.onnx")
    return found[0]


def parse(trt: Any, title: str, network: Any, logger: Any, sink: Sink, model: Path) -> Any:
    """Fill ``network`` from the model. Returns the parser, which owns the weights until the engine is built."""
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(model)) and network.num_outputs:
        return parser
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    if not errors:
        text = "; ".join(sink.errors) or "it is not an ONNX model, or it is cut off, or it has no outputs"
        raise UserError(f"{title} cannot read the model: {text}")
    if any("initializer" in error.desc() for error in errors):
        _check_data(model)
    messages = [_message(title, error) for error in errors]
    more = f" (and {len(messages) - _SHOWN} more)" if len(messages) > _SHOWN else ""
    hints = [hint for error in errors if (hint := _hint(error))]
    raise UserError("; ".join(messages[:_SHOWN]) + more, hint=hints[0] if hints else None)


def _check_data(model: Path) -> None:
    """Say what is wrong with external data, of which TensorRT says no more than that it is; needs the package onnx."""
    try:
        from cbuild_onnx import soundness
    except ImportError:
        return
    soundness.check(model)


def _message(title: str, error: Any) -> str:
    if error.node() < 0:
        return f"{title} cannot read the model: {readable(error.desc())}"
    place = f"node '{error.node_name()}' ({error.node_operator()})"
    if error.func() == "checkFallbackPluginImporter":
        return f"{title} cannot take {place}: it has no such operator, and no plugin of that name"
    text = readable(error.desc()).removeprefix(f"{error.node_name()}: ")
    # A failed check with no words of its own, such as "false".
    return f"{title} cannot take {place}" + (f": {text}" if " " in text else f": unsupported ({error.func()})")


def _hint(error: Any) -> str | None:
    text, operator = error.desc(), error.node_operator()
    if operator in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"):
        if "zero point" in text or "zero_point" in text or "type Int32" in text or "UInt8" in text:
            return (
                "TensorRT takes symmetric int8 with float biases: quantize with 'scheme: s8-symmetric' "
                "('scheme: auto' chooses it where the target has this platform)"
            )
        return "TensorRT takes static, symmetric int8 QDQ; dynamic quantization is for the CPU"
    if error.func() == "checkFallbackPluginImporter":
        return (
            "operators of ONNX Runtime's own domain (fused, dynamic or n-bit quantised) run there only: start from "
            "the plain ONNX export"
        )
    return None
