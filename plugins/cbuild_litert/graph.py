"""One graph of a LiteRT file: operators, who reads which tensor, and constants as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compressbuild.api import UserError

from . import flatbuffer

__all__ = ["Graph", "Operator"]

_TYPES = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
_PACKED = {"int4": (4, True), "uint4": (4, False), "int2": (2, True)}
"""Type → bits of a number, and whether it has a sign. The first number is in the lowest bits of its byte."""


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """``type``: as the schema calls it, or the name of a ``custom`` one. ``inputs``, ``outputs``: indices of tensors,
    -1 for one that is left out. ``composite``: the graph that it stands for, None for a plain operator.
    ``transposes_first``: of a BATCH_MATMUL, whether its first operand is transposed."""

    type: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    composite: int | None = None
    transposes_first: bool = False


class Graph:
    """Graph ``at`` of a model. ``shapes``: tensor → shape, where the run has others than the file."""

    def __init__(self, model: Any, at: int, shapes: Mapping[int, tuple[int, ...]] | None = None) -> None:
        self._model, self._graph = model, model.Subgraphs(at)
        self.shapes: Mapping[int, tuple[int, ...]] = shapes or {}

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        return tuple(self._operator(self._graph.Operators(at)) for at in range(self._graph.OperatorsLength()))

    @cached_property
    def readers(self) -> dict[int, list[tuple[Operator, int]]]:
        """Tensor → operators that read it, each with the position of the operand."""
        found: dict[int, list[tuple[Operator, int]]] = {}
        for operator in self.operators:
            for position, index in enumerate(operator.inputs):
                found.setdefault(index, []).append((operator, position))
        return found

    @cached_property
    def constants(self) -> dict[int, Any]:
        """Tensor → the buffer that holds its numbers, in the order of the file."""
        buffers = {at: self._model.Buffers(self.tensor(at).Buffer()) for at in range(self._graph.TensorsLength())}
        return {at: each for at, each in buffers.items() if each is not None and (each.DataLength() or each.Size())}

    def tensor(self, index: int) -> Any:
        return self._graph.Tensors(index)

    def name(self, index: int) -> str:
        return flatbuffer.name(self.tensor(index))

    def dtype(self, index: int) -> str:
        """``float32``, ``int4``: as numpy calls it, or as the schema does in lower case."""
        return _TYPES.get(self.tensor(index).Type(), "an unknown type")

    def shape(self, index: int) -> tuple[int, ...]:
        if index in self.shapes:
            return self.shapes[index]
        tensor = self.tensor(index)
        return tuple(map(int, tensor.ShapeAsNumpy())) if tensor.ShapeLength() else ()

    def bytes(self, index: int) -> int:
        buffer = self.constants[index]
        return int(buffer.Size() or buffer.DataLength())

    def array(self, index: int) -> np.ndarray:
        """A constant as it is stored; numbers of 4 bits and fewer, one in each int8 or uint8."""
        buffer, dtype, shape = self.constants[index], self.dtype(index), self.shape(index)
        data = buffer.DataAsNumpy() if buffer.DataLength() else self._beyond(buffer)
        raw = np.asarray(data, np.uint8)
        if dtype in _PACKED:
            numbers = _unpacked(raw, *_PACKED[dtype])[: math.prod(shape)]
        elif dtype == "bfloat16":
            numbers = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            numbers = raw.view(np.dtype(dtype).newbyteorder("<"))
        if numbers.size != math.prod(shape):
            raise UserError(
                f"tensor '{self.name(index)}' holds {numbers.size} numbers, but its shape is {list(shape)}",
                hint="it may be stored as a sparse tensor, which is not read here",
            )
        return numbers.reshape(shape)

    def _beyond(self, buffer: Any) -> np.ndarray:
        """Of a file that is too large for a flatbuffer: numbers behind its end."""
        start = buffer.Offset()
        return np.frombuffer(self._model._tab.Bytes, np.uint8, buffer.Size(), start)

    def _operator(self, found: Any) -> Operator:
        kind, custom = flatbuffer.type_of(self._model, found)
        inputs = tuple(map(int, found.InputsAsNumpy())) if found.InputsLength() else ()
        outputs = tuple(map(int, found.OutputsAsNumpy())) if found.OutputsLength() else ()
        composite, transposes = None, False
        if kind == "STABLEHLO_COMPOSITE" and not custom:
            options = schema.StableHLOCompositeOptions()
            options.Init(found.BuiltinOptions2().Bytes, found.BuiltinOptions2().Pos)
            composite = int(options.DecompositionSubgraphIndex())
        elif kind == "BATCH_MATMUL" and found.BuiltinOptions() is not None:
            matmul = schema.BatchMatMulOptions()
            matmul.Init(found.BuiltinOptions().Bytes, found.BuiltinOptions().Pos)
            transposes = bool(matmul.AdjX())
        return Operator(kind, custom, inputs, outputs, composite, transposes)


def _unpacked(raw: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    parts = np.stack([(raw >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)], axis=1).reshape(-1)
    if not signed:
        return parts
    return (parts.astype(np.int8) ^ (1 << (bits - 1))) - np.int8(1 << (bits - 1))
