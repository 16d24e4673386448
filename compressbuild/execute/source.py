"""A model that is a file of the project: its bytes become an artifact. No worker is needed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..errors import NodeFailed

__all__ = ["import_file"]


def import_file(root: Path, file: str, listed: tuple[str, ...], out: Path) -> None:
    """Copy ``file`` into ``out``, with the ``listed`` files (external data) at their places relative to it."""
    home = os.path.dirname(file) or "."
    for path in dict.fromkeys((file, *listed)):
        relative = os.path.relpath(path, home)
        if relative.startswith(".."):
            raise NodeFailed(f"'{path}' is not beside '{file}'", hint="put the model's files in its directory or below")
        target = out / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, target)
