"""``compressbuild.build`` and ``compressbuild.plan`` are rooms of the engine, and functions of its Python API."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["make_callable"]


def make_callable(name: str, home: str) -> None:
    """Calling the module ``name`` calls the function of its last word in ``home``, which is imported then."""

    class Callable(ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return getattr(import_module(home), name.rpartition(".")[2])(*args, **kwargs)

    sys.modules[name].__class__ = Callable
