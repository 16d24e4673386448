"""How many trained parameters a model has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.api import Context, Params, Weight

__all__ = ["distinct", "nonzero", "nonzeros", "parameters"]


def parameters(ctx: Context, subject: Path, params: Params) -> dict[str, Any]:
    """``{"value": numbers, "nonzero": those that are not zero}``; a shared tensor counts once, buffers do not."""
    counts = [(weight.count, nonzero(weight)) for weight in ctx.census("subject").weights()]
    return {"value": sum(n for n, _ in counts), "nonzero": sum(n for _, n in counts)}


def nonzeros(ctx: Context, subject: Path, params: Params) -> dict[str, Any]:
    """``{"value": numbers that are not zero, "parameters", "density": value / parameters, "per_tensor": {name:
    {"n", "nonzero"}}}``. A quantized weight counts as zero where its integer is 0."""
    found = {weight.name: {"n": weight.count, "nonzero": nonzero(weight)} for weight in ctx.census("subject").weights()}
    total, value = sum(row["n"] for row in found.values()), sum(row["nonzero"] for row in found.values())
    return {"value": value, "parameters": total, "density": value / total if total else 0.0, "per_tensor": found}


def distinct(ctx: Context, subject: Path, params: Params) -> dict[str, Any]:
    """``{"value": most distinct numbers in one tensor, "bits": ceil(log2 of it), "per_tensor": {name: distinct}}``: how
    far the weights are shared or quantized. Numbers packed several to a byte count as the bytes they are in."""
    found = {weight.name: len(np.unique(weight.array)) for weight in ctx.census("subject").weights()}
    value = max(found.values(), default=0)
    return {"value": value, "bits": max(value - 1, 0).bit_length(), "per_tensor": found}


def nonzero(weight: Weight) -> int:
    """Numbers that are not zero; of packed ones all, for their bytes do not tell."""
    return weight.packed or int(np.count_nonzero(weight.array))
