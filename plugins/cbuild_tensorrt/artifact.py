"""engine.json: the inputs and outputs of an engine, which itself opens only on its GPU."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .ranges import TensorForm, Triple

__all__ = ["NUMPY_TYPES", "describe", "read", "types_of", "validate", "write"]

FORMAT = 1

NUMPY_TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
    "FP8": "float8_e4m3fn",
    "INT4": "int4",
    "FP4": "float4_e2m1fn",
}
_NARROW_FIRST = ("FP4", "INT4", "FP8", "INT8", "HALF", "BF16", "FLOAT")


def types_of(network: Any) -> set[str]:
    """Names of the TensorRT data types that the network's layers produce."""
    found: set[str] = set()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        found.update(layer.get_output(i).dtype.name for i in range(layer.num_outputs))
    return found


def describe(
    inputs: Sequence[TensorForm],
    outputs: Sequence[TensorForm],
    shapes: Mapping[str, Triple],
    types: Iterable[str],
    **library: Any,
) -> dict[str, Any]:
    """The content of engine.json. ``library``: which one built it, its version, for which GPU."""
    present = set(types)
    narrowest = next((name for name in _NARROW_FIRST if name in present), "FLOAT")

    def row(form: TensorForm) -> dict[str, Any]:
        profile = shapes.get(form.name)
        entry: dict[str, Any] = {"name": form.name, "shape": list(form.shape), "dtype": form.dtype}
        if profile:
            entry["profile"] = {key: list(shape) for key, shape in zip(("min", "opt", "max"), profile, strict=True)}
        return entry

    return {
        "format": FORMAT,
        **library,
        "precision": NUMPY_TYPES[narrowest],
        "types": sorted(NUMPY_TYPES.get(name, name.lower()) for name in present),
        "inputs": [row(form) for form in inputs],
        "outputs": [row(form) for form in outputs],
    }


def write(description: Mapping[str, Any], directory: Path) -> None:
    text = json.dumps(description, indent=2, sort_keys=True, ensure_ascii=False)
    (directory / "engine.json").write_text(text + "\n", encoding="utf-8")


def read(directory: Path) -> dict[str, Any]:
    """The content of engine.json; ValueError if it is not one that this version wrote."""
    try:
        found = json.loads((directory / "engine.json").read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"engine.json is not JSON: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"engine.json is not of format {FORMAT}")
    return found


def validate(directory: Path) -> None:
    """ValueError unless the directory holds an engine and its description."""
    description = read(directory)
    if not description.get("inputs") or not description.get("outputs"):
        raise ValueError("engine.json names no inputs or no outputs")
    if description.get("bytes") != (directory / "model.engine").stat().st_size:
        raise ValueError("model.engine is not the engine that engine.json describes, or it is cut off")
