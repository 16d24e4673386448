"""Data files of a plugin: those that its code names by a literal, beside the module that does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ..globbing import walk

__all__ = ["data_files"]

_CODE = (".py", ".pyc", ".pyi", ".so", ".pyd")


def data_files(module: str, texts: Iterable[str]) -> Iterator[str]:
    """Files that ``texts`` name, from the directory of ``module``; of a directory that is no package, all below.
    Modules are not among them: they count as what they are."""
    folder = os.path.dirname(module)
    for text in texts:
        path = os.path.join(folder, *text.split("/"))
        if os.path.isfile(path):
            yield from () if path.endswith(_CODE) else (path,)
        elif os.path.isdir(path) and not os.path.exists(os.path.join(path, "__init__.py")):
            yield from _below(path)


def _below(folder: str) -> Iterator[str]:
    for base, inner, names in walk(folder):
        inner[:] = sorted(each for each in inner if each != "__pycache__")
        yield from (os.path.join(base, name) for name in sorted(names) if not name.endswith(_CODE))
