"""The census of ONNX models: trained tensors from the file, arithmetic and traffic from one run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from compressbuild.api import Census, Context, Weight

from . import files
from .precision import count
from .traffic import weights_read
from .trained import trained

__all__ = ["census"]

_PASSING = ("DequantizeLinear", "Transpose", "Cast", "Reshape", "Identity")  # between a weight and the layer it is of
_NAMES = {"float": "float32", "double": "float64"}  # as torch and numpy call them


def census(ctx: Context, model: Path) -> Census:
    return Census(
        weights=partial(_weights, model), macs=partial(count, ctx, model), traffic=partial(weights_read, ctx, model)
    )


def _weights(artifact: Path) -> Iterator[Weight]:
    """One tensor at a time: they need not all fit in memory."""
    path = files.find(artifact)
    model = files.read(path, weights=False)
    readers: dict[str, list[Any]] = {}
    for node in files.nodes(model):
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for tensor, places, packed in trained(model):
        if uses_external_data(tensor):
            load_external_data_for_tensor(tensor, str(path.parent))
        layer = _layer((node for node, _ in places), readers)
        dtype = TensorProto.DataType.Name(tensor.data_type).lower()
        yield Weight(
            name=tensor.name,
            array=numpy_helper.to_array(tensor),
            dtype=_NAMES.get(dtype, dtype),
            layer=layer.name,
            operator=layer.op_type,
            packed=packed,
        )
        tensor.ClearField("raw_data")


def _layer(nodes: Iterable[Any], readers: dict[str, list[Any]]) -> Any:
    """The operator that a weight ends in."""
    node = next(iter(nodes))
    while node.op_type in _PASSING and readers.get(node.output[0]):
        node = readers[node.output[0]][0]
    return node
