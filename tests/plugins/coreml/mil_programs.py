"""Core ML packages read and computed without Core ML: the protocol buffer's schema, and nothing else of coremltools.

The formats: https://apple.github.io/coremltools/mlmodel/Format/MIL.html, and of ``weight.bin`` the headers
``mlmodel/src/MILBlob/Blob/StorageFormat.hpp`` of coremltools. What operators compute: its ``mil/ops/defs``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from coremltools.proto import MIL_pb2, Model_pb2
from torch.nn import functional

_MARK = 0xDEADBEEF
_WHOLE = {10: "f2", 11: "f4", 21: "i1", 22: "i2", 23: "i4", 31: "u1", 32: "u2", 33: "u4"}
_PARTS = {25: (4, True), 35: (4, False), 36: (2, False), 37: (1, False), 38: (6, False), 39: (3, False)}
Env = dict[str, Any]


def bits(raw: bytes, width: int, count: int) -> np.ndarray:
    """Numbers of ``width`` bits, the first in the lowest."""
    each = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")[: width * count].reshape(count, width)
    return (each.astype(np.int64) << np.arange(width)).sum(1)


class Program:
    """``constants``: name of each tensor that is stored → its decoded value. ``run`` computes in float32, whatever type
    the program names, so that only what is stored and quantized makes a difference."""

    def __init__(self, package: Path) -> None:
        content = package / "Data/com.apple.CoreML"
        spec = Model_pb2.Model.FromString((content / "model.mlmodel").read_bytes())
        (function,) = spec.mlProgram.functions.values()
        (block,) = function.block_specializations.values()
        self._blob = (content / "weights/weight.bin").read_bytes()
        self.operations = list(block.operations)
        self.inputs = [item.name for item in function.inputs]
        self.outputs = list(block.outputs)
        self.constants: Env = {}
        for operation in self.operations:
            self._constant(operation)

    def _constant(self, operation: Any) -> None:
        if operation.type == "const":
            self.constants[operation.outputs[0].name] = self._value(operation.attributes["val"])
        elif operation.type.startswith("constexpr_"):
            given = {name: self._value(value) for name, value in operation.attributes.items() if name != "name"}
            given |= {name: self._given(each.arguments, {}) for name, each in operation.inputs.items()}
            made = DECODERS[operation.type](given)
            for output, value in zip(operation.outputs, made, strict=True):
                self.constants[output.name] = value

    def _given(self, arguments: Any, values: Env) -> Any:
        """What an operator is given: a value by name, or written beside it."""
        (argument,) = arguments
        if argument.WhichOneof("binding") == "value":
            return self._value(argument.value)
        return values[argument.name] if argument.name in values else self.constants[argument.name]

    def _value(self, value: Any) -> Any:
        kind, shape = value.type.tensorType.dataType, [d.constant.size for d in value.type.tensorType.dimensions]
        count = int(np.prod(shape, dtype=int))
        if value.WhichOneof("value") == "blobFileValue":
            return self._stored(value.blobFileValue.offset, kind, count).reshape(shape)
        tensor = value.immediateValue.tensor
        field = tensor.WhichOneof("value")
        if field == "strings":
            return tensor.strings.values[0]
        if field == "bytes":
            return _decoded(tensor.bytes.values, kind, count).reshape(shape)
        return np.array(getattr(tensor, field).values).reshape(shape)

    def _stored(self, offset: int, kind: int, count: int) -> np.ndarray:
        mark, _, size, start = struct.unpack_from("<IIQQ", self._blob, offset)
        assert mark == _MARK, "no entry of weight.bin"
        return _decoded(self._blob[start : start + size], kind, count)

    @property
    def types(self) -> list[str]:
        return [each.type for each in self.operations if each.type != "const"]

    def named(self, *types: str) -> list[Any]:
        return [each for each in self.operations if each.type in types]

    def weight(self, operation: Any) -> np.ndarray:
        """The weight of a convolution or a linear layer."""
        return np.asarray(self.constants[operation.inputs["weight"].arguments[0].name], np.float32)

    def scale(self, operation: Any) -> float:
        """Of ``quantize`` and ``dequantize``."""
        return float(self._given(operation.inputs["scale"].arguments, {}))

    def run(self, feeds: Mapping[str, np.ndarray]) -> Env:
        """The value of each tensor that the program computes."""
        values: Env = {name: torch.from_numpy(np.array(array)) for name, array in feeds.items()}
        for operation in self.operations:
            if operation.type == "const" or operation.type.startswith("constexpr_"):
                continue
            given = {name: self._given(each.arguments, values) for name, each in operation.inputs.items()}
            (output,) = operation.outputs
            values[output.name] = OPERATORS[operation.type](given)
        return values

    def answer(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = self.run(feeds)
        return {name: values[name].numpy() for name in self.outputs}


def _decoded(raw: bytes, kind: int, count: int) -> np.ndarray:
    if kind in _WHOLE:
        return np.frombuffer(raw, _WHOLE[kind])[:count]
    width, signed = _PARTS[kind]
    found = bits(raw, width, count)
    return np.where(found >= 1 << (width - 1), found - (1 << width), found) if signed else found


def _affine(given: Env) -> tuple[np.ndarray]:
    """Of iOS 16: one scale for each index of an axis, or one for all."""
    data = given["quantized_data"].astype(np.float32)
    form = [-1 if at == int(given["axis"]) else 1 for at in range(data.ndim)]
    scale, zero = (
        np.reshape(given[name], form if np.size(given[name]) > 1 else []) for name in ("scale", "zero_point")
    )
    return ((data - zero.astype(np.float32)) * scale.astype(np.float32),)


def _spread(scale: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A scale for each block, repeated over the elements of the block."""
    for axis, size in enumerate(shape):
        scale = np.repeat(scale, size // scale.shape[axis], axis)
    return scale.astype(np.float32)


def _blockwise(given: Env) -> tuple[np.ndarray]:
    assert "offset" not in given
    data = given["data"].astype(np.float32)
    return (data * _spread(given["scale"], data.shape),)


def _palette(given: Env) -> tuple[np.ndarray]:
    if "shape" in given:  # of iOS 16: as many bits as the palette needs
        shape = [int(each) for each in given["shape"]]
        width = int(np.log2(len(given["lut"])))
        indices = bits(given["indices"].tobytes(), width, int(np.prod(shape))).reshape(shape)
        return (given["lut"][indices].astype(np.float32),)
    return (given["lut"].reshape(-1)[given["indices"]].astype(np.float32),)


def _dense(given: Env) -> tuple[np.ndarray]:
    if "shape" in given:  # of iOS 16
        shape = [int(each) for each in given["shape"]]
        mask = bits(given["mask"].tobytes(), 1, int(np.prod(shape))).reshape(shape)
    else:
        mask = given["mask"]
    found = np.zeros(mask.shape, np.float32)
    found[mask == 1] = given["nonzero_data"]
    return (found,)


def _sparse_palette(given: Env) -> tuple[np.ndarray, np.ndarray]:
    return given["indices_mask"], given["lut"].reshape(-1)[given["indices_nonzero_data"]].astype(np.float32)


def _sparse_blockwise(given: Env) -> tuple[np.ndarray, np.ndarray]:
    mask = given["data_mask"]
    return mask, given["nonzero_data"].astype(np.float32) * _spread(given["scale"], mask.shape)[mask == 1]


DECODERS: Mapping[str, Callable[[Env], tuple[np.ndarray, ...]]] = {
    "constexpr_affine_dequantize": _affine,
    "constexpr_blockwise_shift_scale": _blockwise,
    "constexpr_lut_to_dense": _palette,
    "constexpr_sparse_to_dense": _dense,
    "constexpr_lut_to_sparse": _sparse_palette,
    "constexpr_sparse_blockwise_shift_scale": _sparse_blockwise,
}


def _tensor(value: Any) -> Any:
    return value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value, np.float32))


def _conv(given: Env) -> Any:
    assert given["pad_type"] in ("custom", "valid")
    top, bottom, left, right = map(int, given["pad"]) if given["pad_type"] == "custom" else (0, 0, 0, 0)
    padded = functional.pad(given["x"], (left, right, top, bottom))
    strides, dilations = given["strides"].tolist(), given["dilations"].tolist()
    return functional.conv2d(
        padded, _tensor(given["weight"]), _tensor(given["bias"]), strides, 0, dilations, int(given["groups"])
    )


def _quantize(given: Env) -> Any:
    assert given["output_dtype"] == "int8"
    assert "zero_point" not in given
    return torch.clamp(torch.round(given["input"] / float(given["scale"])), -128, 127)


OPERATORS: Mapping[str, Callable[[Env], Any]] = {
    "cast": lambda given: given["x"],
    "relu": lambda given: functional.relu(given["x"]),
    "add": lambda given: _tensor(given["x"]) + _tensor(given["y"]),
    "conv": _conv,
    "linear": lambda given: functional.linear(given["x"], _tensor(given["weight"]), _tensor(given["bias"])),
    "reduce_mean": lambda given: given["x"].mean(given["axes"].tolist(), keepdim=bool(given["keep_dims"])),
    "reshape": lambda given: given["x"].reshape(given["shape"].tolist()),
    "quantize": _quantize,
    "dequantize": lambda given: given["input"] * float(given["scale"]),
}

assert MIL_pb2.DataType.INT4 in _PARTS  # the schema has the types by these numbers
