"""Where a module's code lies: in the project, in another source tree on the path, or in an installed distribution.

The rules of Python's own finders (https://docs.python.org/3/reference/import.html), applied to directory listings.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import find_spec

import msgspec

__all__ = ["Module", "Space", "relative", "top_level"]

_SUFFIXES = (*EXTENSION_SUFFIXES, ".py", ".pyc")  # the order in which Python tries them
ENGINE = "compressbuild"


class Module(msgspec.Struct, frozen=True, dict=True):
    """``file``: None for a namespace package. ``places``: the ``(root, directory)`` pairs of a package's submodules."""

    name: str
    root: str
    file: str | None
    places: tuple[tuple[str, str], ...] = ()

    @cached_property
    def package(self) -> str:
        """The package that its relative imports start from."""
        return self.name if self.places else self.name.rpartition(".")[0]

    @cached_property
    def path(self) -> str:
        """The file's path within its root, with ``/``."""
        return "" if self.file is None else relative(self.file, self.root)


def top_level(path: str) -> str:
    """The top-level module that a file of code belongs to; empty for a file of something else."""
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, stem = os.path.split(folder)
    return stem if suffix in _SUFFIXES else ""


def relative(path: str, base: str) -> str:
    """The path within an absolute directory, with ``/``; as it is if it lies elsewhere."""
    inside = os.path.join(base, "")
    return path[len(inside) :].replace(os.sep, "/") if path.startswith(inside) else path


class Space:
    """The modules whose source counts: those under ``roots`` and, beside them, any that Python finds outside of
    site-packages and the standard library (an editable install is edited without a new version). ``own``: top-level
    packages that count wherever they lie. ``like``: another, of the same moment, whose listings serve here too.

    Listings are kept, so this is a snapshot: make a new one after the files changed.
    """

    def __init__(self, roots: Iterable[str], own: Iterable[str] = (), like: Space | None = None) -> None:
        self.roots = tuple(os.path.abspath(root) for root in roots)
        self._own = frozenset(own)
        self._listings: dict[str, frozenset[str]] = like._listings if like is not None else {}
        self._found: dict[str, Module | None] = {}
        self._specs: dict[str, ModuleSpec | None] = like._specs if like is not None else {}
        self._absent: dict[str, tuple[str, ...]] = {}

    def find(self, name: str) -> Module | None:
        """None if it is not there, or is no source that counts. Its parents need not have been found before."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    @property
    def listed(self) -> tuple[str, ...]:
        """The directories that were searched, of this space and those ``like`` it."""
        return tuple(self._listings)

    def installed(self, top: str) -> bool:
        """Whether Python finds this top-level module beyond the roots and the standard library."""
        return top != ENGINE and self._spec(top) is not None

    def _find(self, name: str) -> Module | None:
        parent = name.rpartition(".")[0]
        if parent:
            above = self.find(parent)
            return None if above is None else self._search(name, above.places)
        if name == ENGINE:
            return None
        found = self._search(name, [(root, root) for root in self.roots])
        # A directory without __init__.py gives way to a package or module anywhere on the path.
        if found is not None and (found.file is not None or not getattr(self._spec(name), "has_location", False)):
            return found
        return self._search(name, [(folder, folder) for folder in self._source_trees(name)])

    def _spec(self, top: str) -> ModuleSpec | None:
        """Python's own answer. Looking for a top-level name imports nothing."""
        if top not in self._specs:
            try:
                self._specs[top] = None if top in sys.stdlib_module_names else find_spec(top)
            except (ImportError, ValueError):  # a broken finder; a module without a spec
                self._specs[top] = None
        return self._specs[top]

    def _source_trees(self, top: str) -> tuple[str, ...]:
        """The directories beyond the roots that hold a top-level module, as far as its source counts."""
        spec = self._spec(top)
        if spec is None:
            return ()
        if spec.submodule_search_locations is not None:
            folders = [os.path.dirname(os.path.abspath(location)) for location in spec.submodule_search_locations]
        else:
            folders = [os.path.dirname(os.path.abspath(spec.origin))] if spec.has_location and spec.origin else []
        return tuple(f for f in dict.fromkeys(folders) if top in self._own or not self._holds_installed(f))

    def _holds_installed(self, folder: str) -> bool:
        """Whether distributions are unpacked here, so that their versions say what the code is."""
        if os.path.basename(folder) in ("site-packages", "dist-packages"):
            return True
        return any(name.endswith(".dist-info") for name in self._list(folder))

    def _search(self, name: str, places: Iterable[tuple[str, str]]) -> Module | None:
        tail = name.rpartition(".")[2]
        portions = []
        for root, folder in places:
            names = self._list(folder)
            inner = os.path.join(folder, tail)
            inside = self._list(inner) if tail in names else frozenset()
            for suffix in _SUFFIXES:
                if f"__init__{suffix}" in inside:
                    return Module(name, root, os.path.join(inner, f"__init__{suffix}"), ((root, inner),))
            for suffix in _SUFFIXES:
                if tail + suffix in names:
                    return Module(name, root, inner + suffix)
            if inside or (tail in names and os.path.isdir(inner)):
                portions.append((root, inner))
        return Module(name, portions[0][0], None, tuple(portions)) if portions else None

    def absent(self, name: str) -> tuple[str, ...]:
        """Files that, if created, would be found as the module ``name`` before the present one, if any."""
        if name not in self._absent:
            self._absent[name] = tuple(self._preceding(name))
        return self._absent[name]

    def _preceding(self, name: str) -> Iterator[str]:
        parent, _, tail = name.rpartition(".")
        if parent:
            above = self.find(parent)
            folders = [folder for _, folder in above.places] if above is not None else []
        else:
            folders = [] if name in sys.builtin_module_names or name == ENGINE else list(self.roots)
        found = self.find(name)
        for path in (
            os.path.join(folder, file) for folder in folders for file in (f"{tail}/__init__.py", f"{tail}.py")
        ):
            if found is not None and path == found.file:
                return
            yield path

    def beside(self, parent: str) -> list[str]:
        """Names of the modules in a package, or at the top level for the empty name."""
        if parent:
            above = self.find(parent)
            folders = [folder for _, folder in above.places] if above is not None else []
        else:
            folders = list(self.roots)
        names = set()
        for folder in folders:
            for entry in self._list(folder):
                stem = next((entry.removesuffix(s) for s in _SUFFIXES if entry.endswith(s)), entry)
                if stem.isidentifier() and stem not in ("__init__", "__pycache__"):
                    names.add(stem)
        return sorted(names)

    def _list(self, folder: str) -> frozenset[str]:
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))
            except OSError:  # a file, or nothing: no module is in there
                self._listings[folder] = frozenset()
        return self._listings[folder]
