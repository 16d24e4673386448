"""Environments for the tools that pip installs, one each: their dependencies do not agree with each other."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

from .tools import Tool


def install(tools: Iterable[type[Tool]], folder: Path) -> None:
    for tool in tools:
        if tool.package is None:
            continue
        place = folder / tool.name
        if not (place / "bin" / tool.name).exists():
            venv.create(place, with_pip=True)
            print(f"installing {tool.package} into {place}", flush=True)
            words = [str(place / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            done = subprocess.run([*words, tool.package], capture_output=True, text=True, check=False)
            if done.returncode:
                said = done.stderr.strip().splitlines()[-1]
                print(f"  not installed, so it will be left out: {said}", file=sys.stderr)
