"""What a LiteRT file says without being run: its operators, and the types and bytes of its weights.

The schema is that of https://github.com/google-ai-edge/LiteRT/blob/main/tflite/schema/schema.fbs, as ai-edge-litert
carries it.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from cbuild_kit.parity import Precision

__all__ = [
    "FLOATS",
    "check",
    "float_bytes",
    "is_scaled",
    "name",
    "operators",
    "precision",
    "read",
    "type_of",
]

FLOATS = {schema.TensorType.FLOAT32: 4, schema.TensorType.FLOAT16: 2, schema.TensorType.FLOAT64: 8}
_INTS = (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16, schema.TensorType.INT4)
_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def read(path: Path) -> Any:
    """The root table of the schema."""
    return schema.Model.GetRootAs(path.read_bytes(), 0)


def check(path: Path) -> None:
    """ValueError unless every operator and weight of the file lies within it."""
    size = path.stat().st_size
    try:
        model = read(path)
        if sum(graph.OperatorsLength() for graph in _graphs(model)) == 0:
            raise ValueError(f"{path.name} has no operators")
        operators(model)
        for tensor in _tensors(model):
            buffer = model.Buffers(tensor.Buffer())
            if buffer is None or buffer.Offset() + buffer.Size() > size:
                raise ValueError(f"{path.name} is cut off: the data of {name(tensor)} lies beyond its end")
            buffer.DataAsNumpy()
    except (struct.error, IndexError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is damaged or cut off: {error}") from error


def operators(model: Any) -> dict[str, int]:
    """Name of an operator → how many there are."""
    found: Counter[str] = Counter()
    for graph in _graphs(model):
        for at in range(graph.OperatorsLength()):
            found[type_of(model, graph.Operators(at))[0]] += 1
    return dict(sorted(found.items()))


def type_of(model: Any, operator: Any) -> tuple[str, bool]:
    """(type of an operator, whether it is none of the schema's own)."""
    code = model.OperatorCodes(operator.OpcodeIndex())
    builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    custom = code.CustomCode()
    return (custom.decode(), True) if custom else (_OPERATORS.get(builtin, f"operator {builtin}"), False)


def float_bytes(model: Any) -> dict[str, int]:
    """Name → bytes of each weight that is stored as floats. Scalars and vectors, as biases are, are none."""
    found: dict[str, int] = {}
    for number, tensor in enumerate(_weights(model)):
        size = FLOATS.get(tensor.Type())
        if size is not None and tensor.ShapeLength() > 1:
            found[f"{name(tensor)} #{number}"] = size * math.prod(map(int, tensor.ShapeAsNumpy()))
    return found


def precision(model: Any) -> Precision:
    """``int8``, ``fp16`` or ``fp32``: the coarsest type of what the operators read."""
    types = {tensor.Type() for tensor in _weights(model)}
    scaled = any(tensor.Type() in _INTS and is_scaled(tensor) for tensor in _tensors(model))
    return "int8" if scaled else "fp16" if schema.TensorType.FLOAT16 in types else "fp32"


def is_scaled(tensor: Any) -> bool:
    """Whether the integers of a tensor stand for other numbers: with scales of their own, or of its blocks."""
    found = tensor.Quantization()
    return found is not None and (found.ScaleLength() > 0 or found.Details() is not None)


def _weights(model: Any) -> Iterator[Any]:
    for tensor in _tensors(model):
        buffer = model.Buffers(tensor.Buffer())
        if buffer is not None and (buffer.DataLength() or buffer.Size()):
            yield tensor


def _tensors(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        for at in range(graph.TensorsLength()):
            yield graph.Tensors(at)


def _graphs(model: Any) -> Iterator[Any]:
    for at in range(model.SubgraphsLength()):
        yield model.Subgraphs(at)


def name(tensor: Any) -> str:
    return (tensor.Name() or b"").decode() or "a tensor without a name"
