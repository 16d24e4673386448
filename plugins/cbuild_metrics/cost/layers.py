"""Each layer's size, zeros, distribution of weights, and noise if rounded to 8 bits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.api import Context, Params

from .parameters import nonzero

__all__ = ["BINS", "layers"]

BINS = 32
_WORD = 8  # bytes: numbers of more have no integer type
_TABLE = 1 << 12  # weights: smaller tensors are not worth a word if they are stored twice
SAMPLED = 1 << 20  # of a larger tensor, this many evenly spaced weights are looked at for all but the counts


def layers(ctx: Context, subject: Path, params: Params) -> dict[str, Any]:
    """``{"value": weight tensors, "layers": [row …], "vectors": {"tensors", "n", "bytes", "nonzero"}}``.

    A row for each trained tensor with two dimensions or more, in the model's order: ``name``; ``op`` and ``node`` of
    the layer it is of; ``shape``; ``dtype``; ``n`` weights; ``bytes``; ``nonzero``; ``low``, ``high`` and ``histogram``
    (:data:`BINS` equal bins between them) of the weights that are not zero; ``sqnr8``: decibels of the weights over
    their error if rounded to 8 bits, symmetric, one scale a tensor (float weights only). ``nonfinite``, where
    there are any. ``repeated``: names of large tensors with the same numbers, transposed or not, where there are any.
    Biases and the weights of norms are summed up in ``vectors``.
    """
    rows: list[dict[str, Any]] = []
    alike: dict[tuple[Any, ...], list[str]] = {}
    vectors = {"tensors": 0, "n": 0, "bytes": 0, "nonzero": 0}
    for weight in ctx.census("subject").weights():
        array, dtype = weight.array, weight.dtype
        counted = {"n": weight.count, "bytes": _bytes(array, dtype), "nonzero": nonzero(weight)}
        if array.ndim < 2:
            vectors["tensors"] += 1
            for key, value in counted.items():
                vectors[key] += value
            continue
        row = {"name": weight.name, "op": weight.operator, "node": weight.layer, "shape": list(array.shape)}
        row |= {"dtype": dtype, **counted}
        if weight.count >= _TABLE and array.dtype.itemsize <= _WORD:
            alike.setdefault((dtype, *sorted(array.shape), *_sums(array)), []).append(weight.name)
        rows.append(row if weight.packed else row | _spread(array, dtype))
    repeated = [names for names in alike.values() if len(names) > 1]
    return {"value": len(rows), "layers": rows, "vectors": vectors, **({"repeated": repeated} if repeated else {})}


def _sums(array: Any) -> tuple[int, int]:
    """Of the bits of all numbers and of their squares, modulo 2⁶⁴: equal for a tensor and its transpose."""
    flat = array.reshape(-1).view(f"u{array.dtype.itemsize}")
    first = second = 0
    for start in range(0, flat.size, SAMPLED):
        bits = flat[start : start + SAMPLED].astype(np.uint64)
        first += int(bits.sum(dtype=np.uint64))
        second += int((bits * bits).sum(dtype=np.uint64))
    return first % 2**64, second % 2**64


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
