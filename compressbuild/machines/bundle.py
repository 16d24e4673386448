"""Code that is shipped to other machines: the engine, the packages of plugins, and two libraries where they lack."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
import sysconfig
import zlib
from collections.abc import Iterable, Iterator
from functools import cached_property

__all__ = ["LIBRARIES", "Bundle", "tag"]

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

    def __init__(self, packages: Iterable[str]) -> None:
        self.packages = tuple(sorted(set(packages)))
        self.files: dict[str, str] = {}
        for name in self.packages:
            self.files.update(_files(name))
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
        for folder, inside, names in os.walk(place):
            inside[:] = sorted(name for name in inside if name != "__pycache__")
            for name in names:
                full = os.path.join(folder, name)
                if os.path.isfile(full):
                    yield os.path.relpath(full, os.path.dirname(place)), full
