"""The two TensorRT libraries, imported by name."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from compressbuild.api import UserError

__all__ = ["Library", "open_library"]


@dataclass(frozen=True, slots=True)
class Library:
    """A TensorRT module with the name a user knows it by."""

    trt: Any
    name: str  # import name
    title: str

    @property
    def version(self) -> str:
        version: str = self.trt.__version__
        return version


def open_library(name: str, title: str, install: str) -> Library:
    """Import ``tensorrt`` or ``tensorrt_rtx``. UserError where it, or a shared library that it needs, is missing."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{title} cannot be loaded: {error}", hint=install) from None
    if not hasattr(module, "__version__"):  # a directory of that name on the path, as a namespace package
        where = ", ".join(getattr(module, "__path__", ["an unknown place"]))
        raise UserError(f"{title} cannot be loaded: '{name}' is not the library but {where}", hint=install)
    return Library(module, name, title)
