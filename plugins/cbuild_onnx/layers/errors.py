"""The kind ``layer-errors``, ``layers.json``, and the metric that reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compressbuild.api import Context, UserError

from .params import LayerError

__all__ = ["FILE", "layer_error", "validate"]

FILE = "layers.json"
_NUMBERS = ("sqnr", "own", "lost", "rounding", "share")


def validate(directory: Path) -> None:
    """ValueError unless every layer has its numbers."""
    _read(directory)


def _read(directory: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads((directory / FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{FILE} is not JSON: {error}") from error
    rows = found.get("layers") if isinstance(found, dict) else None
    if not isinstance(rows, dict) or not rows:
        raise ValueError(f"{FILE} names no layers")
    for name, row in rows.items():
        lacking = [key for key in _NUMBERS if not isinstance(row.get(key), int | float)]
        if lacking:
            raise ValueError(f"{FILE}: '{name}' has no {', '.join(lacking)}")
    return {"layers": rows, "samples": found.get("samples")}


def layer_error(ctx: Context, subject: Path, params: LayerError) -> dict[str, Any]:
    """``{"value": the least own SQNR in dB, "per_layer": {tensor: row}, "samples": n}``.

    The rows are in the order in which the layers run. ``node`` and ``op``: the layer that makes the tensor. ``sqnr``:
    dB of the source's activation over the difference from it. ``own``: the same of what the layer alone adds: its
    output beside that of the source's layer on the very inputs that it got. ``lost``: the share of its channels'
    signal that this noise hides, 0 to 1, each channel alike. ``rounding``: the same of rounding the output alone, 0
    where it is stored as float. ``share``: of the sum of ``lost`` over all layers.
    """
    try:
        found = _read(subject)
    except ValueError as error:
        raise UserError(str(error), hint="it is what the technique metrics.layer-errors makes") from error
    rows = found["layers"]
    return {"value": min(row["own"] for row in rows.values()), "per_layer": rows, "samples": found["samples"]}
