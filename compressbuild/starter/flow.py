"""Values as a Compressfile writes them, on one line: ``{shape: [batch, 3], dtype: float32}``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["flow"]

_PLAIN = re.compile(r"[A-Za-z_./][\w./-]*(:[A-Za-z_][\w.]*)?")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off"})


def flow(value: Any) -> str:
    """Text that YAML may read as something else is quoted."""
    match value:
        case bool() | None:
            return json.dumps(value)
        case str():
            plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
            return value if plain else json.dumps(value, ensure_ascii=False)
        case Mapping():
            return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow, value)) + "]"
    return json.dumps(value)
