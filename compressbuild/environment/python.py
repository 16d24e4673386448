"""Which interpreter an environment is made with."""

from __future__ import annotations

import os
import sys
from functools import cache
from shutil import which

import msgspec

from ..words import pythons

__all__ = ["Python", "choose"]

_OLDEST, _NEWEST = 11, 20


class Python(msgspec.Struct, frozen=True):
    """``version``: ``3.12``. ``path``: of the interpreter, which lies in no environment."""

    version: str
    path: str


@cache
def choose(versions: str) -> Python | None:
    """The interpreter of the engine, if its version is among ``versions``; else the newest ``python3.N`` on PATH; else
    one that uv installed; None if there is none. Nothing is downloaded."""
    if pythons(versions, sys.version_info[1]):
        return Python(f"3.{sys.version_info[1]}", os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    for minor in range(_NEWEST, _OLDEST - 1, -1):
        if pythons(versions, minor) and (path := which(f"python3.{minor}")) and (found := _asked(path, minor)):
            return found
    return _of_uv(versions)


def _asked(path: str, minor: int) -> Python | None:
    """A program of that name may be a shim that finds no such Python."""
    import subprocess

    real = "os.path.realpath(getattr(sys, '_base_executable', sys.executable))"
    ask = f"import os, sys; print(sys.version_info[1], {real})"
    try:
        said = subprocess.run([path, "-I", "-c", ask], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found, _, real = said.strip().partition(" ")
    return Python(f"3.{minor}", real) if found == str(minor) else None


def _of_uv(versions: str) -> Python | None:
    """One that ``uv python install`` put on this machine."""
    import subprocess

    from .uv import find_uv

    uv = find_uv()
    if uv is None:
        return None
    wanted = versions if not versions.strip()[0].isdigit() else f"=={versions.strip()}.*"
    words = [uv, "python", "find", "--no-project", "--system", "--no-python-downloads", wanted]
    try:
        path = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    minors = (minor for minor in range(_OLDEST, _NEWEST + 1) if pythons(versions, minor))
    return next((found for minor in minors if (found := _asked(path, minor)) is not None), None)
