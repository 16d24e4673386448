"""How much of a model is quantized, by its weights and by its arithmetic."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from compressbuild.api import Context, Weight

from .params import Shapes

__all__ = ["quantized_share"]

_BITS = re.compile(r"\d+")
_HALF = 16  # bits: a type with fewer is a quantized one
_SHOWN = 5


def quantized_share(ctx: Context, subject: Path, params: Shapes) -> dict[str, Any]:
    """``{"value": share of the weights, "macs": share of the multiply-accumulates, "float": [{"name", "op", "shape",
    "n"} …]}``, 0 to 1 each: what is stored in fewer than 16 bits, and what is computed in integers.

    ``float``: the largest tensors of those left. Biases and the weights of norms, which have one dimension, do not
    count. ``macs`` is 0 for weights that are turned into floats before they are multiplied.
    """
    census = ctx.census("subject")
    total = small = 0
    rows: list[dict[str, Any]] = []
    for weight in census.weights():
        if weight.array.ndim < 2:
            continue
        total += weight.count
        if _quantized(weight):
            small += weight.count
            continue
        shape = list(weight.array.shape)
        rows.append({"name": weight.name, "op": weight.operator, "shape": shape, "n": weight.count})
    rows.sort(key=lambda row: (-row["n"], row["name"]))
    found = census.macs(params.axes)
    counted = sum(found.by_type.values())
    return {
        "value": small / total if total else 0.0,
        "macs": found.by_type.get("int8", 0) / counted if counted else 0.0,
        "float": rows[:_SHOWN],
    }


def _quantized(weight: Weight) -> bool:
    bits = _BITS.search(weight.dtype)
    return bool(weight.packed) or (bits is not None and int(bits[0]) < _HALF)
