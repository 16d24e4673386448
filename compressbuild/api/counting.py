"""What ``cbuild init`` asks of a model, in a worker: its weights and its arithmetic, by the census of its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .context import Context
from .params import Params

__all__ = ["arithmetic", "weights"]


def weights(ctx: Context, subject: Path, params: Params) -> dict[str, Any]:
    """``{"value": numbers, "bytes", "tensors": [{"name", "op", "shape", "n", "bytes"} …]}``; only tensors with two
    dimensions or more have a row."""
    rows, count, size = [], 0, 0
    for weight in ctx.census("subject").weights():
        # Two numbers of 4 bits are in one byte, in the file.
        half = weight.dtype in ("int4", "uint4")
        taken = (weight.array.size + 1) // 2 if half else int(weight.array.nbytes)
        count, size = count + weight.count, size + taken
        if weight.array.ndim > 1:
            shape = list(weight.array.shape)
            rows.append({"name": weight.name, "op": weight.operator, "shape": shape, "n": weight.count, "bytes": taken})
    return {"value": count, "bytes": size, "tensors": rows}


def arithmetic(ctx: Context, subject: Path, params: Params) -> dict[str, Any]:
    """``{"value": MACs a sample, "by_operator": {…}, "axes": {name: size}}``."""
    found = ctx.census("subject").macs({})
    if found.uncounted:
        ctx.log.warning("not counted: %s", ", ".join(found.uncounted))
    return {"value": found.value, "by_operator": found.by_operator, "axes": found.axes}
