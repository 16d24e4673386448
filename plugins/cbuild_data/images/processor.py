"""What a Hugging Face image processor says, as keys of the source ``images``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from compressbuild.api import UserError

from .params import Images

__all__ = ["completed"]

_NAME = "preprocessor_config.json"
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # numbers of Pillow


def completed(params: Images, path: Path | None) -> Images:
    """``params`` with what the processor at ``path`` says where they say nothing; then the defaults."""
    if path is not None:
        said = _said(_read(path / _NAME if path.is_dir() else path), str(params.processor))
        params = replace(params, **{name: value for name, value in said.items() if getattr(params, name) in (None, ())})
    if params.size is None:
        raise UserError("'images' needs a 'size'", hint="e.g. 'size: 224', or 'processor:' with its directory")
    defaults = {"divide": 255.0, "crop": True, "interpolation": "bilinear"}
    if params.dtype == "uint8" and not params.mean and not params.std:
        defaults.pop("divide")  # pixels as they are
    return replace(params, **{name: value for name, value in defaults.items() if getattr(params, name) is None})


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"there is no '{path.name}' in '{path.parent.name}'", hint="'processor:' names it") from error
    except (OSError, ValueError) as error:
        raise UserError(f"'{path.name}' cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"'{path.name}' is not a mapping", hint="'processor:' names a Hugging Face image processor")
    return found


def _said(config: Mapping[str, Any], shown: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for switch in ("do_pad", "do_thumbnail", "do_reduce_labels"):
        if config.get(switch):
            raise UserError(
                f"'{shown}' asks for '{switch}', which the source 'images' does not do",
                hint="write a loader that calls the processor itself",
            )
    size = config.get("size") if config.get("do_resize", True) else None
    crop = config.get("crop_size") if config.get("do_center_crop") else None
    if crop is not None:
        found["size"], found["crop"] = _pair(crop, shown), True
        found["resize"] = _shorter(size, shown) if size is not None else None
    elif size is not None:
        found["size"], found["crop"] = _pair(size, shown), False
    resample = config.get("resample")
    if resample is not None:
        if resample not in _RESAMPLE:
            raise UserError(f"'{shown}' resamples by method {resample}, which the source 'images' does not know")
        found["interpolation"] = _RESAMPLE[resample]
    if config.get("do_rescale", True):
        found["divide"] = round(1 / float(config.get("rescale_factor", 1 / 255)), 6)
    else:
        found["divide"] = 1.0
    if config.get("do_normalize", True):
        for name in ("mean", "std"):
            if (value := config.get(f"image_{name}")) is not None:
                found[name] = tuple(map(float, value)) if isinstance(value, list) else (float(value),)
    return found


def _pair(size: Any, shown: str) -> list[int]:
    match size:
        case int():
            return [size, size]
        case {"height": int(height), "width": int(width)}:
            return [height, width]
        case {"shortest_edge": int(side)}:
            return [side, side]
    raise UserError(f"'{shown}' has a size that the source 'images' does not know: {size!r}", hint="give 'size:'")


def _shorter(size: Any, shown: str) -> int:
    match size:
        case int():
            return size
        case {"shortest_edge": int(side)}:
            return side
        case {"height": int(height), "width": int(width)} if height == width:
            return height
    raise UserError(f"'{shown}' has a size that the source 'images' does not know: {size!r}", hint="give 'resize:'")
