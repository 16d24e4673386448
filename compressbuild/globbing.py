"""``glob.glob`` and ``os.walk`` that raise where a directory cannot be listed, or what is in it not be looked at.

To pass over it is to say that nothing is there.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import re
from collections.abc import Iterator

__all__ = ["find", "walk"]

_NOTHING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
"""There is no directory there, or none that a path leads to."""


def walk(top: str | os.PathLike[str], *, follow: bool = False) -> Iterator[tuple[str, list[str], list[str]]]:
    """As ``os.walk``, from the top down. OSError where that would pass over something, with its path."""
    left = [os.fspath(top)]
    while left:
        folder = left.pop()
        inside: list[str] = []
        names: list[str] = []
        links = set()
        with os.scandir(folder) as entries:
            for entry in entries:
                (inside if _is_folder(entry) else names).append(entry.name)
                if not follow and entry.is_symlink():
                    links.add(entry.name)
        yield folder, inside, names
        left += (os.path.join(folder, name) for name in reversed(inside) if name not in links)


def find(pattern: str, root: str = "") -> list[str]:
    """What ``glob.glob(pattern, root_dir=root, recursive=True)`` finds, in that form, sorted. Raises the OSError of a
    directory on the way that is there and cannot be listed, with its path."""
    parts = re.split(f"({os.sep}+)", pattern)
    found = _below(root, "", list(zip(parts[::2], [*parts[1::2], ""], strict=True)))
    return sorted({path for path in found if path})


def _below(root: str, before: str, parts: list[tuple[str, str]]) -> Iterator[str]:
    """Paths that begin with ``before`` and go on as the parts do. A part is a name or a pattern, and what follows it:
    slashes, or nothing."""
    if not parts:
        if os.path.lexists(os.path.join(root, before)):
            yield before
        return
    (part, slash), rest = parts[0], parts[1:]
    if part == "**":
        yield from _deep(root, before, slash, rest)
    elif not glob.has_magic(part):
        yield from _below(root, before + part + slash, rest)
    else:
        for name, is_folder in _names(root, before):
            hidden = name.startswith(".") and not part.startswith(".")
            if (is_folder or not rest) and not hidden and fnmatch.fnmatch(name, part):
                yield from _below(root, before + name + slash, rest)


def _deep(root: str, before: str, slash: str, rest: list[tuple[str, str]]) -> Iterator[str]:
    """``**``: any number of directories, but for hidden ones; at the end of a pattern, files, too."""
    if rest:
        yield from _below(root, before, rest)
    elif os.path.isdir(os.path.join(root, before)):
        yield before
    for name, is_folder in _names(root, before):
        if name.startswith("."):
            continue
        if not rest:
            yield before + name
        if is_folder:
            for path in _deep(root, f"{before}{name}{slash or os.sep}", slash, rest):
                if path != f"{before}{name}{os.sep}" or rest:
                    yield path


def _names(root: str, folder: str) -> list[tuple[str, bool]]:
    """What a directory holds, and whether each is a directory, or leads to one."""
    try:
        with os.scandir(os.path.join(root, folder) or os.curdir) as entries:
            return sorted((entry.name, _is_folder(entry)) for entry in entries)
    except OSError as error:
        if error.errno in _NOTHING:
            return []
        raise


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno in _NOTHING:
            return False
        raise
