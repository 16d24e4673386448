"""Code that is shipped to other machines: the engine, the packages of plugins, and two libraries where they lack."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import sys
import sysconfig
import zlib
from collections.abc import Iterable, Iterator
from functools import cached_property

from ..globbing import walk

__all__ = ["LIBRARIES", "Bundle", "tag"]

_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+([A-Za-z_]\w*)", re.MULTILINE)
LIBRARIES = ("msgspec", "blake3")
"""What the agent imports beside the standard library."""


def tag() -> str:
    """What compiled modules must be for: the interpreter and the platform."""
    return "-".join(
        (str(sys.implementation.cache_tag), sysconfig.get_platform(), str(sysconfig.get_config_var("SOABI") or ""))
    )


class Bundle:
    """Top-level packages as they are now. ``files``: path relative to the directory that holds the package → path here.
    ``digest``: SHA-256 of the index and all bytes."""

    def __init__(self, packages: Iterable[str], *, follow: bool = False) -> None:
        """``follow``: and the packages of source trees that these import, as plugins in a checkout share some."""
        self.files: dict[str, str] = {}
        left, seen = sorted(set(packages)), set()
        while left:
            name = left.pop()
            seen.add(name)
            found = dict(_files(name))
            self.files.update(found)
            if follow:
                left += sorted(each for each in _imported(found.values()) - seen - set(left) if _is_source(each))
        self.packages = tuple(sorted(seen))
        contents = []
        for path in sorted(self.files):
            with open(self.files[path], "rb") as file:
                contents.append(file.read())
        index = json.dumps([[path, len(data)] for path, data in zip(sorted(self.files), contents, strict=True)])
        self._index, self._contents = index.encode(), contents

    @cached_property
    def digest(self) -> str:
        found = hashlib.sha256(self._index)
        for data in self._contents:
            found.update(data)
        return found.hexdigest()

    @cached_property
    def packed(self) -> bytes:
        return zlib.compress(b"\n".join((self._index, b"".join(self._contents))), 6)


def _imported(files: Iterable[str]) -> set[str]:
    """Top-level names in import statements, as far as they are not of the standard library."""
    found: set[str] = set()
    for path in files:
        if path.endswith(".py"):
            with open(path, encoding="utf-8", errors="replace") as file:
                found.update(_IMPORT.findall(file.read()))
    return found - sys.stdlib_module_names


def _is_source(package: str) -> bool:
    """Whether it is found, and not among installed distributions, whose code counts by their versions."""
    spec = importlib.util.find_spec(package)
    places = [*(spec.submodule_search_locations or ()), spec.origin] if spec is not None else []
    above = {os.path.dirname(each) for each in places if each and os.path.isabs(each)}
    return bool(above) and not any(name.endswith(".dist-info") for each in above for name in _names(each))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # it is in a zip file
        return [".dist-info"]


def _files(package: str) -> Iterator[tuple[str, str]]:
    """Of a package without what Python compiled; of a single module its file. Nothing of what is not there."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return
    if not spec.submodule_search_locations:
        if spec.origin is not None and os.path.isfile(spec.origin):
            yield os.path.basename(spec.origin), os.path.abspath(spec.origin)
        return
    for place in map(os.path.abspath, spec.submodule_search_locations):
        for folder, inside, names in walk(place):
            inside[:] = sorted(name for name in inside if name != "__pycache__")
            for name in names:
                full = os.path.join(folder, name)
                if os.path.isfile(full):
                    yield os.path.relpath(full, os.path.dirname(place)), full
