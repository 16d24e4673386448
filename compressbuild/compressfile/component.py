"""Parts of a JSON Schema that msgspec makes of a plugin's parameters, opened for references."""

from __future__ import annotations

from typing import Any

__all__ = ["REFERENCE", "opened", "range_"]

Json = dict[str, Any]

REFERENCE = {"$ref": "#/$defs/reference"}


RANGE = {"$ref": "#/$defs/range"}


def opened(component: Json, *, ranged: bool = False) -> Json:
    """A component of msgspec's with a reference allowed wherever it wants a value. ``ranged``: a range, too."""
    if "properties" not in component:
        return component
    properties = {
        name: _widened(wanted, (REFERENCE, RANGE) if ranged else (REFERENCE,))
        for name, wanted in component["properties"].items()
    }
    return {**component, "properties": properties}


def _widened(wanted: Json, more: tuple[Json, ...] = (REFERENCE,)) -> Json:
    outer: Json = {name: wanted[name] for name in ("description", "default", "title") if name in wanted}
    inner: Json = {name: value for name, value in wanted.items() if name not in outer}
    for name in ("items", "additionalProperties"):
        if isinstance(inner.get(name), dict):
            inner[name] = _widened(inner[name])
    return {**outer, "anyOf": [*inner["anyOf"], *more] if set(inner) == {"anyOf"} else [inner, *more]}


def range_() -> Json:
    """A parameter that ``cbuild tune`` chooses, with the value that builds use."""
    number = {"anyOf": [{"type": "number"}, REFERENCE]}
    searched = {
        "search": {"type": "array", "items": number, "minItems": 2, "maxItems": 2, "description": "[low, high]"},
        "log": {"type": "boolean", "description": "Search on a logarithmic scale."},
        "step": {**number, "description": "Distance between the values that are tried."},
        "value": {**number, "description": "What builds use; 'cbuild tune --apply' writes it."},
    }
    chosen = {
        "choose": {"type": "array", "minItems": 1, "description": "The values to try."},
        "value": {"description": "What builds use; 'cbuild tune --apply' writes it."},
    }
    kinds = (("search", searched), ("choose", chosen))
    return {
        "description": "A range for 'cbuild tune', with the value that builds use.",
        "anyOf": [
            {"type": "object", "properties": properties, "required": [name], "additionalProperties": False}
            for name, properties in kinds
        ],
    }
