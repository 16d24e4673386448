"""The program that fills an environment. https://docs.astral.sh/uv/"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shutil import which

from ..errors import Incompatible

__all__ = ["INSTALL", "fill", "find_uv", "version"]

INSTALL = "pip install 'compressbuild[environments]', or put uv on PATH"
_DROPPED = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT")
_SHOWN = 12  # lines of what uv says of a failure


def find_uv() -> str | None:
    """On PATH, or beside the interpreter, where its wheel puts it."""
    beside = os.path.join(os.path.dirname(sys.executable), "uv")
    return which("uv") or (beside if os.access(beside, os.X_OK) else None)


def fill(uv: str, directory: Path, python: str, lock: Path) -> None:
    """Make a virtual environment in ``directory`` with what ``lock`` pins and nothing else. Raises Incompatible with
    uv's own words.

    No code of a package runs: only wheels are taken, and each must have a digest that the lock names.
    """
    venv = ["venv", "--no-project", "--relocatable", "--no-python-downloads", "--python", python]
    _run([uv, *venv, "--quiet", str(directory)], directory.parent)
    # Copies, not links into uv's own cache: a file that is changed there must not change here.
    sync = ["pip", "sync", "--require-hashes", "--only-binary", ":all:", "--link-mode", "copy", "--compile-bytecode"]
    inner = str(directory / "bin" / "python")
    _run([uv, *sync, "--quiet", "--python", inner, str(lock)], directory.parent)


def version(uv: str) -> str:
    import subprocess  # a command that reads knows where uv is, and starts no program

    said = subprocess.run([uv, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout.split()
    return said[1] if len(said) > 1 else ""


def _run(words: list[str], place: Path) -> None:
    import subprocess

    environ = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    try:
        done = subprocess.run(
            words, cwd=place, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", check=False,
        )  # fmt: skip
    except OSError as error:
        raise Incompatible(f"uv cannot be started: {error.strerror}", hint=INSTALL) from error
    if done.returncode != 0:
        lines = [line.rstrip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise Incompatible("\n".join(lines[-_SHOWN:]) or f"uv ended with status {done.returncode}")
