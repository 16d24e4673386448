"""The census of LiteRT models: trained tensors and arithmetic, as the file has them.

A weight of fewer bits that an operator multiplies with floats is multiplied in integers: LiteRT and XNNPACK round the
other operand at run time. One behind a DEQUANTIZE is not.
https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_quantization
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema
from cbuild_kit import fixed_batch

from compressbuild.api import Census, Context, Macs, UserError, Weight

from . import flatbuffer
from .artifact import tflite_file
from .graph import Graph, Operator
from .runner import TfliteRunner

__all__ = ["census"]

# Which operands are trained. Elsewhere, constants of floats and of scaled integers are, but for single numbers.
_TRAINED = {
    "BATCH_MATMUL": (0, 1),
    "CONV_2D": (1, 2),
    "CONV_3D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "EMBEDDING_LOOKUP": (1,),
    "FULLY_CONNECTED": (1, 2),
    "GATHER": (0,),
    "TRANSPOSE_CONV": (1, 3),
}
_LOOKUPS = {"EMBEDDING_LOOKUP": 1, "GATHER": 0}  # position of the table
_PASSING = ("CAST", "DEQUANTIZE", "RESHAPE", "TRANSPOSE")  # between a weight and the operator that it ends in
_EIGHT = (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT4)
_UNKNOWN = {
    "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "CONV_3D_TRANSPOSE", "IF", "LSTM", "RNN", "SVDF",
    "STABLEHLO_CONVOLUTION", "STABLEHLO_DOT_GENERAL", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
    "WHILE",
}  # fmt: skip
"""Operators that multiply and accumulate in a way that is not counted; others of no builtin type may."""


def census(ctx: Context, model: Path) -> Census:
    return Census(weights=partial(_weights, model), macs=partial(_macs, model), traffic=partial(_traffic, model))


def _weights(model: Path) -> Iterator[Weight]:
    seen: set[int] = set()
    for graph in _graphs(model):
        for index in graph.constants:
            buffer = graph.tensor(index).Buffer()
            ends = list(_ends(graph, index))
            if buffer not in seen and any(_is_trained(graph, index, *end) for end in ends):
                seen.add(buffer)
                operator = ends[0][0]
                yield Weight(
                    name=graph.name(index),
                    array=graph.array(index),
                    dtype=graph.dtype(index),
                    layer=graph.name(operator.outputs[0]),
                    operator=operator.type,
                )


def _graphs(model: Path) -> Iterator[Graph]:
    """The graph that is run, and those that its composite operators stand for."""
    read = flatbuffer.read(tflite_file(model))
    due = [0]
    for at in due:
        graph = Graph(read, at)
        yield graph
        inner = (operator.composite for operator in graph.operators if operator.composite is not None)
        due += [each for each in inner if each not in due]


def _ends(graph: Graph, index: int) -> Iterator[tuple[Operator, int]]:
    """The operators that a tensor ends in, and at which of their operands."""
    for operator, position in graph.readers.get(index, ()):
        if operator.type in _PASSING and position == 0 and graph.readers.get(operator.outputs[0]):
            yield from _ends(graph, operator.outputs[0])
        else:
            yield operator, position


def _is_trained(graph: Graph, index: int, operator: Operator, position: int) -> bool:
    tensor = graph.tensor(index)
    scaled = flatbuffer.is_scaled(tensor)
    if not (scaled or tensor.Type() in flatbuffer.FLOATS):
        return False
    known = _TRAINED.get(operator.type)
    return position in known if known is not None else math.prod(graph.shape(index)) > 1


def _macs(model: Path, axes: Mapping[str, int]) -> Macs:
    """Of one sample, ``float`` and ``int8``; what is wider than 8 bits counts as ``float``."""
    shapes, sizes, batch = _run_shapes(model, axes, 1)
    unknown: set[str] = set()
    counted: list[tuple[str, str, int]] = []
    read = flatbuffer.read(tflite_file(model))

    def visit(at: int, shaped: Mapping[int, tuple[int, ...]]) -> None:
        graph = Graph(read, at, shaped)
        for operator in graph.operators:
            count = _COUNTS.get(operator.type)
            if operator.composite is not None:
                visit(operator.composite, {})
            elif count is not None:
                counted.append((operator.type, _kind(graph, operator), count(graph, operator)))
            elif operator.type in _UNKNOWN or operator.custom:
                unknown.add(operator.type)

    visit(0, shapes)
    return Macs.of_run(counted, batch=batch, axes=sizes, uncounted=unknown)


def _kind(graph: Graph, operator: Operator) -> str:
    """``int8`` if a weight of at most 8 bits is read as it is, or both operands are such."""
    data, weight = _OPERANDS.get(operator.type, (0, 1))
    types = [graph.tensor(operator.inputs[at]).Type() for at in (data, weight)]
    hybrid = types[0] == schema.TensorType.FLOAT32 and operator.inputs[weight] in graph.constants
    return "int8" if types[1] in _EIGHT and (types[0] in _EIGHT or hybrid) else "float"


_OPERANDS = {"TRANSPOSE_CONV": (2, 1)}  # where the data and the weight are, if not in this order at the beginning


def _conv(graph: Graph, operator: Operator) -> int:
    """Weights ``[out, height, width, in of a group]``: each output is a product over all but the first axis."""
    return _outputs(graph, operator) * math.prod(graph.shape(operator.inputs[1])[1:])


def _conv_3d(graph: Graph, operator: Operator) -> int:
    """Weights ``[depth, height, width, in of a group, out]``."""
    return _outputs(graph, operator) * math.prod(graph.shape(operator.inputs[1])[:-1])


def _depthwise(graph: Graph, operator: Operator) -> int:
    """Weights ``[1, height, width, out]``."""
    return _outputs(graph, operator) * math.prod(graph.shape(operator.inputs[1])[1:3])


def _transposed(graph: Graph, operator: Operator) -> int:
    """Weights ``[out, height, width, in]``: each input is multiplied by all that its channel has."""
    return math.prod(graph.shape(operator.inputs[2])) * math.prod(graph.shape(operator.inputs[1])[:3])


def _connected(graph: Graph, operator: Operator) -> int:
    """Weights ``[out, in]``."""
    return _outputs(graph, operator) * graph.shape(operator.inputs[1])[-1]


def _product(graph: Graph, operator: Operator) -> int:
    return _outputs(graph, operator) * graph.shape(operator.inputs[0])[-2 if operator.transposes_first else -1]


_COUNTS: dict[str, Callable[[Graph, Operator], int]] = {
    "BATCH_MATMUL": _product,
    "CONV_2D": _conv,
    "CONV_3D": _conv_3d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _connected,
    "TRANSPOSE_CONV": _transposed,
}


def _outputs(graph: Graph, operator: Operator) -> int:
    return math.prod(graph.shape(operator.outputs[0]))


def _traffic(model: Path, axes: Mapping[str, int], batch: int) -> int:
    """Bytes of all constants that operators read; of a table that is only looked up in, those of the rows."""
    shapes, _, _ = _run_shapes(model, axes, batch)
    total, seen = 0.0, set()
    for number, graph in enumerate(_graphs(model)):
        graph.shapes = shapes if number == 0 else {}
        for index in graph.constants:
            readers = graph.readers.get(index, ())
            buffer = graph.tensor(index).Buffer()
            if not readers or buffer in seen:
                continue
            seen.add(buffer)
            size, numbers = graph.bytes(index), math.prod(graph.shape(index))
            if all(_LOOKUPS.get(operator.type) == position for operator, position in readers) and numbers:
                size *= min(1.0, sum(_outputs(graph, operator) for operator, _ in readers) / numbers)
            total += size
    return round(total)


def _run_shapes(
    model: Path, axes: Mapping[str, int], batch: int
) -> tuple[dict[int, tuple[int, ...]], dict[str, int], int]:
    """(tensor → shape in the graph that is run, axis → size, samples). An axis that the file fixes keeps its size; of
    others, the first is ``batch`` and the rest are 16, unless ``axes`` says more."""
    runner = TfliteRunner(model, xnnpack=False)
    sizes: dict[str, int] = {}
    wanted: dict[str, tuple[int, ...]] = {}
    for item in runner.inputs:
        tensor = runner.details[item.name]
        signature = tensor["shape_signature"] if len(tensor["shape_signature"]) else tensor["shape"]
        for position, (axis, size) in enumerate(zip(item.shape, map(int, signature), strict=True)):
            if not isinstance(axis, str):
                continue
            if size >= 0 and axes.get(axis, size) != size:
                raise UserError(f"axis '{axis}' of the LiteRT model is {size}, not {axes[axis]}: its shapes are fixed")
            sizes[axis] = size if size >= 0 else axes.get(axis, sizes.get(axis, 16 if position else batch))
        wanted[item.name] = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in item.shape)
    if unknown := axes.keys() - sizes.keys():
        raise UserError(f"no input has an axis '{min(unknown)}'", hint=f"dynamic axes: {', '.join(sizes) or 'none'}")
    runner.resize(wanted)
    first = next((shape[0] for shape in wanted.values() if shape), 1)
    return runner.shapes(), sizes, fixed_batch(runner.inputs) or first
