"""Builder flags by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from compressbuild.api import UserError

__all__ = ["member", "set_flags"]


def names(enum: Any) -> list[str]:
    return [name.lower().replace("_", "-") for name in enum.__members__]


def member(enum: Any, name: str, what: str) -> Any:
    """The member of a TensorRT enum for a kebab-case name; UserError listing what this version knows."""
    found = enum.__members__.get(name.upper().replace("-", "_"))
    if found is None:
        raise UserError(f"this TensorRT has no {what} '{name}'", hint=f"it has: {', '.join(names(enum))}")
    return found


def set_flags(trt: Any, config: Any, flags: Iterable[str]) -> None:
    """Set each flag; one written ``no-tf32`` is cleared."""
    for flag in flags:
        name = flag.lower()
        clear = name.startswith("no-") and name.upper().replace("-", "_") not in trt.BuilderFlag.__members__
        found = member(trt.BuilderFlag, name.removeprefix("no-") if clear else name, "builder flag")
        if clear:
            config.clear_flag(found)
        else:
            config.set_flag(found)
