"""An integer model in float arithmetic: its exact results, whatever the processor's 8-bit products do.

ONNX Runtime runs MatMulInteger and ConvInteger by kernels that saturate on x86-64 without VNNI, with optimisations off
too. A reference that runs them would be as wrong as what is compared with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from . import files
from .runner import OnnxRunner

__all__ = ["reference", "spell_out"]

_FLOAT = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}


def reference(path: Path, place: Path, *, threads: int) -> OnnxRunner:
    """Runs a model as it is written: nothing fused, products of integers exact. ``place``: for a copy, if one is
    needed."""
    proto = files.read(path, weights=False)
    if spell_out(proto):
        place.mkdir(exist_ok=True, parents=True)
        path = files.write(proto, place, weights_from=path.parent)
    return OnnxRunner(path, threads=threads, optimise=False)


def spell_out(model: ModelProto) -> int:
    """Replace products of 8-bit integers by those of the same numbers as float32; returns how many.

    A sum is exact up to 2^24, and beyond it far closer than 8 bits are.
    """
    return _graph(model.graph)


def _graph(graph: GraphProto) -> int:
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    made: list[NodeProto] = []
    count = 0
    for node in graph.node:
        count += sum(_graph(inner) for inner in files.subgraphs(node))
        points = [sizes.get(name, ()) for name in node.input[2:] if name]
        if node.op_type in _FLOAT and all(map(_is_one, points[:1])):
            made.extend(_product(node, sizes))
            count += 1
        else:
            made.append(node)
    kept = [NodeProto.FromString(node.SerializeToString()) for node in made]
    del graph.node[:]
    graph.node.extend(kept)
    return count


def _is_one(shape: tuple[int, ...]) -> bool:
    return all(size == 1 for size in shape)


def _product(node: NodeProto, sizes: dict[str, tuple[int, ...]]) -> Iterator[NodeProto]:
    stem = node.output[0]
    operands = []
    for number, value in enumerate(node.input[:2]):
        point = node.input[2 + number] if len(node.input) > 2 + number else ""
        name = f"{stem}/exact_{number}"
        yield helper.make_node("Cast", [value], [name], to=TensorProto.FLOAT)
        if point:
            yield helper.make_node("Cast", [point], [f"{name}_zero"], to=TensorProto.FLOAT)
            zero = f"{name}_zero"
            if node.op_type == "ConvInteger" and number == 1 and not _is_one(sizes.get(point, ())):
                rank = len(sizes.get(value, (0, 0, 0, 0)))
                axes = f"{name}_shape"
                shape = helper.make_tensor(axes, TensorProto.INT64, [rank], [-1, *[1] * (rank - 1)])
                yield helper.make_node("Constant", [], [axes], value=shape)
                yield helper.make_node("Reshape", [zero, axes], [f"{name}_column"])
                zero = f"{name}_column"
            yield helper.make_node("Sub", [name, zero], [f"{name}_centred"])
            name = f"{name}_centred"
        operands.append(name)
    product = helper.make_node(_FLOAT[node.op_type], operands, [f"{stem}/exact"])
    product.attribute.extend(node.attribute)
    yield product
    yield helper.make_node("Cast", [f"{stem}/exact"], list(node.output), to=TensorProto.INT32)
