"""Constants that float16 cannot hold: the least float32, which masks add, would become minus infinity."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.fx import Node

__all__ = ["clamp", "has_infinity", "infinite"]

_MOST = 65504.0


def clamp(program: ExportedProgram) -> int:
    """Bring finite constants into the range of float16, as convert.fp16 does; returns how many. Infinities stay."""
    count = 0

    def number(value: Any) -> Any:
        nonlocal count
        if isinstance(value, float) and math.isfinite(value) and abs(value) > _MOST:
            count += 1
            return math.copysign(_MOST, value)
        return value

    for node in program.graph.nodes:
        if node.op == "call_function":
            node.args = torch.fx.node.map_aggregate(node.args, number)
            node.kwargs = torch.fx.node.map_aggregate(node.kwargs, number)
    for tensor in _tensors(program):
        beyond = tensor.isfinite() & (tensor.abs() > _MOST)
        if beyond.any():
            tensor.data = torch.where(beyond, tensor.sign() * _MOST, tensor)
            count += int(beyond.sum())
    return count


def _tensors(program: ExportedProgram) -> Iterator[torch.Tensor]:
    for value in (*program.state_dict.values(), *program.constants.values()):
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            yield value


def has_infinity(program: ExportedProgram) -> bool:
    """Whether the model itself has infinite constants."""
    scalars = [arg for node in program.graph.nodes for arg in (*node.args, *node.kwargs.values())]
    found = any(isinstance(value, float) and math.isinf(value) for value in scalars if not isinstance(value, Node))
    return found or any(bool(tensor.isinf().any()) for tensor in _tensors(program))


def infinite(converted: Any) -> str | None:
    """Name of a float16 constant of what coremltools made that is not finite, beside the program too."""
    for function in converted._mil_program.functions.values():
        for operation in function.operations:
            value = operation.outputs[0].val if operation.op_type == "const" else None
            if getattr(value, "dtype", None) == np.float16 and not np.isfinite(value).all():
                return str(operation.name)
    return None
