"""What is in each layer: its size, how much of it is zero, how its weights are spread, what 8 bits would do to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.api import Context, Params

from .parameters import trained

__all__ = ["BINS", "layers"]

BINS = 32
SAMPLED = 1 << 20  # of a larger tensor, this many evenly spaced weights are looked at for all but the counts
_PASSING = ("DequantizeLinear", "Transpose", "Cast", "Reshape", "Identity")  # between a weight and the layer it is of


def layers(ctx: Context, subject: Path, params: Params) -> dict[str, Any]:
    """``{"value": weight tensors, "layers": [row …], "vectors": {"tensors", "n", "bytes", "nonzero"}}``.

    A row for each trained tensor with two dimensions or more, in the model's order: ``name``; ``op`` and ``node`` of
    the layer it is of; ``shape``; ``dtype``; ``n`` weights; ``bytes``; ``nonzero``; ``low``, ``high`` and ``histogram``
    (:data:`BINS` equal bins between them) of the weights that are not zero; ``sqnr8``: decibels of the weights over
    their error if rounded to 8 bits, symmetric, one scale a tensor (float weights only). ``nonfinite``, where
    there are any. Biases and the weights of norms are summed up in ``vectors``.
    """
    rows: list[dict[str, Any]] = []
    vectors = {"tensors": 0, "n": 0, "bytes": 0, "nonzero": 0}
    found = _torch(ctx, subject) if ctx.kind("subject") == "torch-model" else _onnx(subject)
    for name, node, op, dtype, array, packed in found:
        n = packed or array.size
        counted = {"n": n, "bytes": _bytes(array, dtype), "nonzero": n if packed else int(np.count_nonzero(array))}
        if array.ndim < 2:
            vectors["tensors"] += 1
            for key, value in counted.items():
                vectors[key] += value
            continue
        row = {"name": name, "op": op, "node": node, "shape": list(array.shape), "dtype": dtype, **counted}
        rows.append(row if packed else row | _spread(array, dtype))
    return {"value": len(rows), "layers": rows, "vectors": vectors}


def _bytes(array: Any, dtype: str) -> int:
    """Two numbers of 4 bits are in one byte, in the file."""
    return (array.size + 1) // 2 if dtype in ("int4", "uint4") else int(array.nbytes)


def _spread(array: Any, dtype: str) -> dict[str, Any]:
    flat = array.reshape(-1)
    step = -(-flat.size // SAMPLED)
    values = flat[::step].astype(np.float32)
    finite = values[np.isfinite(values)]
    broken = {"nonfinite": int(values.size - finite.size)} if finite.size < values.size else {}
    there = finite[finite != 0]
    if not there.size:
        return {"low": 0.0, "high": 0.0, "histogram": [], **broken}
    low, high = float(there.min()), float(there.max())
    if low == high:
        return {"low": low, "high": high, "histogram": [int(there.size)], **broken}
    counts, _ = np.histogram(there.astype(np.float64), bins=BINS, range=(low, high))
    spread: dict[str, Any] = {"low": low, "high": high, "histogram": counts.tolist(), **broken}
    if "int" not in dtype:
        scale = float(np.abs(there).max()) / 127
        error = there - np.round(there / scale) * scale
        noise, power = (float(np.sum(part.astype(np.float64) ** 2)) for part in (error, there))
        if noise > 0:
            spread["sqnr8"] = round(10 * math.log10(power / noise), 2)
    return spread


_Found = Iterator[tuple[str, str, str, str, Any, int]]  # name, node, op, dtype, array, numbers if several are in a byte


def _torch(ctx: Context, subject: Path) -> _Found:
    from cbuild_torch.model.module import load_model

    model = load_model(ctx, subject)
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        owner = name.rpartition(".")[0]
        dtype = str(parameter.dtype).removeprefix("torch.")
        tensor = parameter.detach()
        array = tensor.float().numpy() if dtype == "bfloat16" else tensor.numpy()
        yield name, owner, type(modules[owner]).__name__, dtype, array, 0


def _onnx(subject: Path) -> _Found:
    from cbuild_onnx.model import files
    from onnx import TensorProto, numpy_helper
    from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

    path = files.find(subject)
    model = files.read(path, weights=False)  # a tensor at a time: they need not all fit in memory
    readers: dict[str, list[Any]] = {}
    for node in files.nodes(model):
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for tensor, places, packed in trained(model):
        if uses_external_data(tensor):
            load_external_data_for_tensor(tensor, str(path.parent))
        array = numpy_helper.to_array(tensor)
        layer = _layer((node for node, _ in places), readers)
        dtype = TensorProto.DataType.Name(tensor.data_type).lower()
        dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)  # as torch and numpy call them
        yield tensor.name, layer.name, layer.op_type, dtype, array, packed
        tensor.ClearField("raw_data")


def _layer(nodes: Iterable[Any], readers: dict[str, list[Any]]) -> Any:
    """The operator that a weight ends in."""
    node = next(iter(nodes))
    while node.op_type in _PASSING and readers.get(node.output[0]):
        node = readers[node.output[0]][0]
    return node
