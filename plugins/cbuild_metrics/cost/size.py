"""The size of an artifact on disk."""

from __future__ import annotations

import bz2
import lzma
import zlib
from pathlib import Path
from typing import Any

from compressbuild.api import Context, Params

from .params import Compressed

__all__ = ["compressed_size", "size"]


def size(ctx: Context, subject: Path, params: Params) -> dict[str, Any]:
    """``{"value": bytes, "files": {name: bytes}}``."""
    files = {
        path.relative_to(subject).as_posix(): path.stat().st_size
        for path in sorted(subject.rglob("*"))
        if path.is_file()
    }
    return {"value": sum(files.values()), "files": files}


def compressed_size(ctx: Context, subject: Path, params: Compressed) -> dict[str, Any]:
    """``{"value": bytes, "ratio_to_size": value / bytes of the files, "files": {name: bytes}}``: each file by itself,
    as it would be sent."""
    pack = {"zlib": lambda data: zlib.compress(data, 9), "bz2": bz2.compress, "lzma": lzma.compress}[params.method]
    found, plain = {}, 0
    for path in sorted(subject.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            plain += len(data)
            found[path.relative_to(subject).as_posix()] = len(pack(data))
    value = sum(found.values())
    return {"value": value, "ratio_to_size": value / plain if plain else 0.0, "files": found}
