"""JSON Schema of the shapes that values of a Compressfile have. In place of most, a reference may stand."""

from __future__ import annotations

from typing import Any

from ..words import Quantity
from .component import REFERENCE
from .gates import AMOUNT

__all__ = ["Json", "either", "limit", "mapping", "number", "quantity", "sequence", "text"]

Json = dict[str, Any]


def either(wanted: Json) -> Json:
    """``wanted``, or text with a reference that becomes it."""
    return {"anyOf": [wanted, REFERENCE]}


def mapping(properties: Json, required: tuple[str, ...] = (), additional: Any = False) -> Json:
    found: Json = {"type": "object", "properties": properties, "additionalProperties": additional}
    return {**found, "required": list(required)} if required else found


def text(description: str, pattern: str | None = None) -> Json:
    if pattern is None:
        return {"type": "string", "minLength": 1, "description": description}
    return {**either({"type": "string", "pattern": pattern}), "description": description}


def sequence(item: Json, description: str = "") -> Json:
    found: Json = either({"type": ["array", "null"], "items": item})
    return {**found, "description": description} if description else found


def number(description: str, **limits: float) -> Json:
    return {**either({"type": "number", **limits}), "description": description}


def limit(description: str, **limits: float) -> Json:
    """Of a gate: a number, or with a unit."""
    written = {"type": "string", "pattern": AMOUNT}
    return {**either({"anyOf": [{"type": "number", **limits}, written]}), "description": description}


def quantity(kind: Quantity, description: str) -> Json:
    return {
        **either({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": kind.pattern}]}),
        "description": description,
    }
