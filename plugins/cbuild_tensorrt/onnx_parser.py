"""ONNX → TensorRT network, with the parser's complaints put in the model's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressbuild.api import UserError

from .logs import Sink, readable

__all__ = ["onnx_file", "parse"]

_SHOWN = 3
_OTHER = "export it with another opset or type, or choose a backend that takes it"
_NO_NUMBERS = ("string", "undefined", "complex64", "complex128")


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
    proto = _checked(model)
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(model)) and network.num_outputs:
        return parser
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    if not errors:
        text = "; ".join(sink.errors) or "it is not an ONNX model, or it is cut off, or it has no outputs"
        raise UserError(f"{title} cannot read the model: {text}", hint=_OTHER)
    messages = [_message(title, error, proto) for error in errors]
    more = f" (and {len(messages) - _SHOWN} more)" if len(messages) > _SHOWN else ""
    hints = [hint for error in errors if (hint := _hint(error))]
    raise UserError("; ".join(messages[:_SHOWN]) + more, hint=hints[0] if hints else _OTHER)


def _checked(model: Path) -> Any:
    """The model without its data, or None without the package onnx. UserError for a faulty file: TensorRT
    says little, or crashes."""
    try:
        from cbuild_onnx.model import soundness
    except ImportError:
        return None
    return soundness.check(model)


def _message(title: str, error: Any, proto: Any) -> str:
    if error.node() < 0:
        strange = _strange_input(proto) if "date type" in error.desc() else None
        if strange is not None:
            return f"{title} cannot read the model: {strange}"
        return f"{title} cannot read the model: {readable(error.desc())}"
    place = f"node '{error.node_name()}' ({error.node_operator()})"
    if error.func() == "checkFallbackPluginImporter":
        return f"{title} cannot take {place}: it has no such operator, and no plugin of that name"
    text = readable(error.desc()).removeprefix(f"{error.node_name()}: ")
    # A failed check with no words of its own, such as "false".
    return f"{title} cannot take {place}" + (f": {text}" if " " in text else f": unsupported ({error.func()})")


def _strange_input(proto: Any) -> str | None:
    """The input whose type TensorRT does not know; its own message does not name it."""
    if proto is None:
        return None
    from onnx import TensorProto

    for value in proto.graph.input:
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            return f"input '{value.name}' is not a tensor but " + (kind.removesuffix("_type") if kind else "of no type")
        name = TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
        if name in _NO_NUMBERS:
            return f"input '{value.name}' is of type {name}"
    return None


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
