"""The size of an artifact on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressbuild.api import Context, Params

__all__ = ["size"]


def size(ctx: Context, subject: Path, params: Params) -> dict[str, Any]:
    """``{"value": bytes, "files": {name: bytes}}``."""
    files = {
        path.relative_to(subject).as_posix(): path.stat().st_size
        for path in sorted(subject.rglob("*"))
        if path.is_file()
    }
    return {"value": sum(files.values()), "files": files}
