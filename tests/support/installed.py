"""A plugin on the path as an installer leaves it, without one: its files, and a dist-info directory beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def install(directory: Path, name: str, version: str, entry_points: Mapping[str, str]) -> None:
    """Make ``directory``, put on the path, a place where distribution ``name`` is installed."""
    info = directory / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = [f"{point} = {module}" for point, module in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[compressbuild]", *points, ""]))


def python(directory: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in ``directory``, with what is installed there."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
