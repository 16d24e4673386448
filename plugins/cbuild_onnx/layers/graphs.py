"""The activations that two ONNX models have in common, and the graphs that give them out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from ..model import files

__all__ = ["MADE", "Layer", "Reading", "activations", "cut", "exposing", "layers", "readings"]

MADE = "/made"
_OPS = 4  # of a layer that are named
_INTEGERS = tuple(np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16))
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "ConvInteger", "QLinearConv"})


class Reading(NamedTuple):
    """How the value of an activation is read in the compressed model: the tensor ``output``, dequantized where it has
    a ``scale``."""

    output: str
    scale: np.ndarray | None = None
    zero: np.ndarray | None = None
    axis: int = 1

    def value(self, array: np.ndarray) -> np.ndarray:
        """The activation, of what the tensor holds."""
        if self.scale is None:
            return array
        scale, zero = self._points(array.ndim)
        return (array.astype(np.float32) - zero) * scale

    def rounded(self, array: np.ndarray, kept: np.dtype[Any]) -> np.ndarray:
        """A float activation as a tensor of the type ``kept`` would hold it."""
        scale, zero = self._points(array.ndim)
        limits = np.iinfo(kept)
        return (np.clip(np.rint(array / scale) + zero, limits.min, limits.max) - zero) * scale

    def _points(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        assert self.scale is not None
        zero = np.zeros_like(self.scale) if self.zero is None else self.zero.astype(np.float32)
        if self.scale.size == 1:
            return self.scale.reshape(()), zero.reshape(())
        shape = [1] * rank
        shape[self.axis] = -1
        return self.scale.reshape(shape), zero.reshape(shape)


class Layer(NamedTuple):
    """What makes an activation from those before it. ``node``: its name, of the one with weights if there is one."""

    node: str
    op: str
    convolves: bool


def activations(model: ModelProto) -> list[str]:
    """Names of the values that depend on the model's inputs, in the order in which they are made."""
    constants = {tensor.name for tensor in model.graph.initializer}
    found = dict.fromkeys(value.name for value in model.graph.input if value.name not in constants)
    for node in model.graph.node:
        if any(name in found for name in files.reads(node)):
            found.update(dict.fromkeys(name for name in node.output if name))
    return list(found)


def readings(model: ModelProto, names: Iterable[str]) -> dict[str, Reading]:
    """Of the activations ``names`` those that the model has, too. One that is quantized is read as the integers that
    come of it: so the operator before it still runs in integers, as ONNX Runtime fuses it."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer if not files.is_external(tensor)}
    made = set(activations(model))
    quantized: dict[str, Reading] = {}
    for node in model.graph.node:
        if (
            node.op_type == "QuantizeLinear"
            and node.input[0] not in quantized
            and all(name in constants for name in node.input[1:])
        ):
            scale, *zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:])
            if zero and zero[0].dtype not in _INTEGERS:
                continue  # the float before it can be read
            axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
            read = Reading(node.output[0], scale.astype(np.float32), zero[0] if zero else None, axis)
            quantized[node.input[0]] = read
    return {name: quantized.get(name) or Reading(name) for name in names if name in made}


def exposing(model: ModelProto, outputs: Iterable[str]) -> ModelProto:
    """A copy that gives out these tensors, too."""
    made = ModelProto()
    made.CopyFrom(model)
    present = {value.name for value in (*made.graph.output, *made.graph.input)}
    made.graph.output.extend(ValueInfoProto(name=name) for name in dict.fromkeys(outputs) if name not in present)
    return made


def cut(model: ModelProto, dtypes: Mapping[str, np.dtype[Any]]) -> ModelProto:
    """A copy in which each of these activations is an input under its name, and what is made in its place an output,
    named with :data:`MADE`: every layer runs on given inputs."""
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    given = {value.name for value in graph.input}
    for node in graph.node:
        for place, name in enumerate(node.output):
            if name in dtypes:
                node.output[place] = f"{name}{MADE}"
    apart = [name for name in dtypes if name not in given]
    graph.input.extend(
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtypes[name]), None) for name in apart
    )
    del graph.output[:], graph.value_info[:]
    graph.output.extend(ValueInfoProto(name=f"{name}{MADE}") for name in apart)
    return made


def layers(model: ModelProto, names: Iterable[str]) -> dict[str, Layer]:
    """For each of these activations what makes it from the others."""
    wanted, graph = list(names), list(model.graph.node)
    ends = set(wanted)
    maker = {name: number for number, node in enumerate(graph) for name in node.output if name}
    weights = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) > 1}
    found = {}
    for name in wanted:
        numbers: set[int] = set()
        pending = [maker[name]] if name in maker else []
        while pending:
            number = pending.pop()
            numbers.add(number)
            before = (maker[each] for each in files.reads(graph[number]) if each in maker and each not in ends)
            pending += [each for each in before if each not in numbers and graph[each].op_type != "Constant"]
        chain = [graph[number] for number in sorted(numbers)]
        own = next((node for node in reversed(chain) if weights.intersection(node.input)), chain[-1] if chain else None)
        ops = [node.op_type for node in chain]
        op = "+".join(ops[:_OPS]) + ("+…" if len(ops) > _OPS else "") if ops else "input"
        convolves = any(node.op_type in _CONVOLUTIONS for node in chain)
        found[name] = Layer(own.name if own is not None else "", op, convolves)
    return found
