"""The plugin under test: its record among the installed ones, and what its manifest costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from ...closure import CodeIndex
from ...registry import Plugin, Registry, discover

__all__ = ["manifest_imports", "plugin_of", "record", "registry", "uncovered"]

_SCRIPT = """
import importlib, json, sys
import compressbuild.api, compressbuild.api.advice
before = set(sys.modules)
importlib.import_module(sys.argv[1])
print(json.dumps(sorted(set(sys.modules) - before)))
"""
_DOOR = ("compressbuild", "msgspec", "pluggy")


@cache
def registry() -> Registry:
    return discover(cache=None)


def record(what: str, name: str) -> Any:
    """The record of this name. AssertionError, saying why, if no installed plugin offers it."""
    known = registry()
    found = getattr(known, f"{what}s").get(name)
    if found is None:
        error = known.unknown(what, name)
        raise AssertionError(f"{error}. {error.hint or ''}")
    return found


def plugin_of(what: str, name: str) -> Plugin:
    owner = registry().owner[what, name]
    return next(plugin for plugin in registry().plugins if plugin.name == owner)


@cache
def manifest_imports(module: str) -> tuple[str, ...]:
    """Modules that importing a manifest, or a module of checks, brings in beyond the standard library, the door and its
    own packages."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, module],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"the manifest {module} cannot be imported: {done.stderr.strip().splitlines()[-1:]}"
    *printed, last = done.stdout.splitlines()
    said = [*printed, *done.stderr.splitlines()]
    assert not said, f"importing the manifest {module} prints: {said[0]}"
    top = module.partition(".")[0]
    own = {top, *registry().siblings(top)}
    found = []
    for name in json.loads(last):
        first = name.partition(".")[0]
        if first == "compressbuild" and not name.startswith("compressbuild.api"):
            found.append(name)
        elif first.startswith(("_cython", "cython_runtime")):
            continue  # an extension module's own
        elif first not in sys.stdlib_module_names and first not in own and first not in _DOOR:
            found.append(first)
    return tuple(dict.fromkeys(found))


def uncovered(references: Iterable[str], modules: Iterable[str]) -> list[str]:
    """Files of ``modules`` that the keys of ``references`` do not cover. AssertionError for a function that is not
    there."""
    index = _index(Path.cwd())
    covered: set[str] = set()
    for reference in references:
        closure = index.plugin(reference)
        assert not closure.missing, f"{reference}: {closure.missing[0].message}"
        covered.update(map(os.path.realpath, closure.paths))
    return sorted(module for module in modules if os.path.realpath(module) not in covered)


@cache
def _index(directory: Path) -> CodeIndex:
    """Sources do not change while tests run, and one index reads each file once."""
    return CodeIndex([], None, directory, registry().siblings)
