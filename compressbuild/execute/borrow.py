"""Starts a warm parent in an environment of a plugin's own: ``python borrow.py SOCKET STARTER PLACES``.

The environment holds neither the engine nor the plugins. They are found where the engine's interpreter finds them, by
their names alone: nothing else that is installed there can be imported. ``PLACES``: JSON, top-level package → the
directory that holds it. This file is run by its path, so it imports the standard library alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class Borrowed:
    """Finds the packages of the engine and of plugins, each in its own place."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        place = self._places.get(name) if path is None else None
        return None if place is None else PathFinder.find_spec(name, [place], target)


def start(descriptor: str, starter: str, places: str) -> None:
    sys.meta_path.insert(0, Borrowed(json.loads(places)))
    from compressbuild.execute.zygote import main

    main(int(descriptor), int(starter))


if __name__ == "__main__":
    start(*sys.argv[1:])
