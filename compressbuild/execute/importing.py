"""Code that counts in keys by its source is imported from that source, whatever compiled files lie beside it.

Python believes a ``.pyc`` that names the mtime, in whole seconds, and the size of its source. After two edits within a
second, ``cp -p`` or an archive with fixed times it runs old code, and a key says nothing of that.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from functools import cache
from importlib import machinery
from types import CodeType
from typing import Any

from ..noop import signature

__all__ = ["Sources", "import_from_source", "libraries", "own_packages"]

Sources = dict[str, tuple[int, int, int, int]]
"""File → its signature when it was about to be read."""
own_packages: list[str] = []
"""Of this process: what :func:`import_from_source` was called with."""


def import_from_source(packages: Iterable[str]) -> Sources:
    """From now on, in this process and its forks. Libraries count by their versions and load as ever. ``packages``:
    those among what is installed that count by their source. What is loaded so joins the result."""
    found: Sources = {}
    own_packages[:] = packages
    installed = libraries()
    own = tuple(each + name + end for each in installed for name in own_packages for end in ("/", ".py"))
    plain = machinery.SourceFileLoader.get_code

    def is_library(path: str) -> bool:
        return path.startswith(installed) and not path.startswith(own)

    def get_code(loader: Any, name: str) -> CodeType | None:
        path = os.path.abspath(loader.path)
        if is_library(path):
            return plain(loader, name)
        found.setdefault(path, signature(path))
        return loader.source_to_code(loader.get_data(path), path)  # type: ignore[no-any-return]

    def finder(path: str) -> _Probe:
        if is_library(os.path.join(os.path.abspath(path), "")) or not os.path.isdir(path):
            raise ImportError("not the place for this finder", path=path)
        return _Probe(path, *_LOADERS)

    machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign,assignment]  # one door for every finder
    sys.path_hooks.insert(0, finder)
    sys.path_importer_cache.clear()
    return found


@cache
def libraries() -> tuple[str, ...]:
    """Prefixes of the standard library and of where distributions are unpacked, as of the first call."""
    places = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    places |= {each for each in sys.path if _holds_installed(each)}
    both = {form for each in places for form in (os.path.abspath(each), os.path.realpath(each))}
    return tuple(sorted(os.path.join(each, "") for each in both))


def _holds_installed(folder: str) -> bool:
    if os.path.basename(folder) in ("site-packages", "dist-packages"):
        return True
    try:
        return any(name.endswith(".dist-info") for name in os.listdir(folder))
    except OSError:  # a zip file, or nothing
        return False


class _Everything:
    def __contains__(self, name: object) -> bool:
        return True


class _Probe(machinery.FileFinder):
    """Asks for each file by its name and lists no directory. A worker may not list the project: what it would see
    there is in no key."""

    def _fill_cache(self) -> None:
        self._path_cache = self._relaxed_path_cache = _Everything()


_LOADERS = (
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)
