"""Bubblewrap: a process with a file system, a network and processes of its own.

A warm parent runs in it, and so its workers do: project and libraries are read-only, home and /tmp are empty, and there
is no network. What of the project a single node sees, :mod:`.veil` decides. https://github.com/containers/bubblewrap
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache

__all__ = ["command", "lack", "version"]

_APART = (
    *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--die-with-parent", "--hostname", "cbuild"),
)
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/gnu", "/snap")
_MORE = ("/sys", "/run/current-system", "/run/opengl-driver")
_BINDS = ("--ro-bind", "--bind")
_DEVICES = (
    "/dev/nvidia*",
    "/dev/nvhost*",
    "/dev/nvmap",
    "/dev/dri",
    "/dev/kfd",
    "/dev/accel",
    "/dev/dxg",
    "/dev/apex*",
)


@cache
def version() -> str | None:
    """Of the program that is installed; None where there is none."""
    if not sys.platform.startswith("linux") or shutil.which("bwrap") is None:
        return None
    try:
        said = subprocess.run(["bwrap", "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.split()[-1] if said.split() else None


@cache
def lack() -> str | None:
    """Why it cannot be used here; None if it can. It is tried, for many systems forbid a part of what it does."""
    if version() is None:
        return "bwrap is not installed" if sys.platform.startswith("linux") else "bubblewrap is for Linux"
    try:
        tried = subprocess.run([*command((), ()), "true"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bwrap does not run: {error}"
    lines = tried.stderr.strip().splitlines() or [f"exit status {tried.returncode}"]
    return None if tried.returncode == 0 else f"bwrap is refused by this system ({lines[-1]})"


def command(readable: Iterable[str], writable: Iterable[str]) -> list[str]:
    """The words before a program and its arguments. Names that are not there are passed over."""
    mounts = {"/proc": ["--proc", "/proc"], "/dev": ["--dev", "/dev"], "/tmp": ["--tmpfs", "/tmp"]}
    for path in (*_SYSTEM, *_MORE, *readable):
        _add(mounts, path, "--ro-bind")
    for path in writable:
        _add(mounts, path, "--bind")
    for device in sorted(path for pattern in _DEVICES for path in glob.glob(pattern)):
        _add(mounts, device, "--dev-bind")
    ordered = [word for path in sorted(mounts, key=_parts) for word in _needed(mounts, path)]
    return ["bwrap", *_APART, *ordered, "--remount-ro", "/", "--chdir", "/", "--"]


def _add(mounts: dict[str, list[str]], path: str, how: str) -> None:
    """By its name, and by that which it has with links resolved."""
    if path in _SYSTEM and os.path.islink(path):
        mounts[path] = ["--symlink", os.readlink(path), path]
        return
    for form in {os.path.abspath(path), os.path.realpath(path)}:
        if os.path.exists(form):
            mounts[form] = [how, form, form]


def _needed(mounts: dict[str, list[str]], path: str) -> list[str]:
    """Its words; none if the directory that holds it shows it already, as it is or as a link."""
    parent = os.path.dirname(path)
    while parent not in mounts and parent != "/":
        parent = os.path.dirname(parent)
    how = mounts[path][0]
    if parent not in mounts or mounts[parent][0] not in _BINDS or how not in _BINDS:
        return mounts[path]
    is_link = os.path.realpath(path) != os.path.join(os.path.realpath(parent), os.path.relpath(path, parent))
    return [] if is_link or how == mounts[parent][0] else mounts[path]


def _parts(path: str) -> list[str]:
    return path.split("/")
