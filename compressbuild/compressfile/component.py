"""Parts of a JSON Schema that msgspec makes of a plugin's parameters, opened for references."""

from __future__ import annotations

from typing import Any

__all__ = ["REFERENCE", "opened"]

Json = dict[str, Any]

REFERENCE = {"$ref": "#/$defs/reference"}


def opened(component: Json) -> Json:
    """A component of msgspec's with a reference allowed wherever it wants a value."""
    if "properties" not in component:
        return component
    properties = {name: _widened(wanted) for name, wanted in component["properties"].items()}
    return {**component, "properties": properties}


def _widened(wanted: Json) -> Json:
    outer: Json = {name: wanted[name] for name in ("description", "default", "title") if name in wanted}
    inner: Json = {name: value for name, value in wanted.items() if name not in outer}
    for name in ("items", "additionalProperties"):
        if isinstance(inner.get(name), dict):
            inner[name] = _widened(inner[name])
    return {**outer, "anyOf": [*inner["anyOf"], REFERENCE] if set(inner) == {"anyOf"} else [inner, REFERENCE]}
