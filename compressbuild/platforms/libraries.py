"""Whether a shared library can be had, without loading it: where the loader and Python's own packages look."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from functools import cache

__all__ = ["find_library", "searched"]

_SYSTEM_DIRS = "/lib64 /usr/lib64 /lib /usr/lib /usr/local/lib /usr/local/cuda/lib64 /usr/lib/wsl/lib".split()  # noqa: SIM905
# e_machine of the ELF header (System V ABI), for the architectures that wheels exist for.
_ELF_MACHINES = {"x86_64": 62, "aarch64": 183, "i686": 3, "ppc64le": 21, "s390x": 22, "riscv64": 243}


@cache
def find_library(name: str) -> str | None:
    """Where ``name`` (a soname, ``libnvinfer.so.10``) would be loaded from, or None.

    Looked for in LD_LIBRARY_PATH, the system's directories and the library directories of installed packages
    (``*_libs/``, ``*/lib/``, ``*/capi/``, ``nvidia/*/lib/``), and only then by the dynamic loader itself: loading a
    runtime of hundreds of megabytes to learn that it is there costs more than the rest of a plan.
    """
    for directory in _directories():
        candidate = os.path.join(directory, name)
        if _loadable(candidate):
            return candidate
    return name if _dlopen(name) else None


def searched() -> Iterator[str]:
    """Where what a host lacks would appear: the directories of programs and libraries, and the marks of a GPU that is
    not there yet."""
    yield from filter(None, os.environ.get("PATH", "").split(os.pathsep))
    yield from _directories()
    yield "/etc/ld.so.cache"
    marks = ("/dev/nvidiactl", "/dev/dxg", "/proc/driver/nvidia")
    yield from (mark for mark in marks if not os.path.lexists(mark))  # what is there changes all the time


def _directories() -> Iterator[str]:
    yield from filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))
    yield from _package_directories(tuple(sys.path))
    for directory in _SYSTEM_DIRS:
        yield directory
        if sys.platform == "linux":
            yield f"{directory}/{os.uname().machine}-linux-gnu"


@cache
def _package_directories(path: tuple[str, ...]) -> tuple[str, ...]:
    found: list[str] = []
    for entry in path:
        packages = _folders(entry)
        if not any(name.endswith(".dist-info") for name in packages):  # no package was installed in it
            continue
        packages = [name for name in packages if not name.endswith(".dist-info")]  # which hold metadata alone
        found += [f"{entry}/{name}" for name in packages if name.endswith(("_libs", ".libs"))]
        for inner in ("lib", "libs", "capi"):
            found += [f"{entry}/{name}/{inner}" for name in packages if os.path.isdir(f"{entry}/{name}/{inner}")]
        if "nvidia" in packages:
            below = (f"{entry}/nvidia/{name}/lib" for name in _folders(f"{entry}/nvidia"))
            found += [folder for folder in below if os.path.isdir(folder)]
    return tuple(found)


def _folders(path: str) -> list[str]:
    """Names of the directories in a directory, sorted; none if it cannot be listed."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return []


def _loadable(path: str) -> bool:
    """An existing library; on Linux, an ELF file for this architecture."""
    try:
        with open(path, "rb") as file:
            header = file.read(20)
    except OSError:
        return False
    if sys.platform != "linux":
        return True
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return False
    (machine,) = struct.unpack("<H" if header[5] == 1 else ">H", header[18:20])
    return bool(machine == _ELF_MACHINES.get(os.uname().machine, machine))


def _dlopen(name: str) -> bool:
    try:
        from _ctypes import dlopen  # of POSIX; all of ctypes takes longer than the answer
    except ImportError:
        from ctypes import CDLL as dlopen  # type: ignore[assignment]
    try:
        dlopen(name)
    except OSError:
        return False
    return True
