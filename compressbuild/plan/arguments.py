"""Paths among the arguments of factories and loaders: what they name is listed, or refused.

Whoever is given a path will open it, maybe in C, where nobody sees it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ..compressfile.nodes import Map, Node, Scalar
from ..compressfile.spec import DatasetSpec, ModelSpec
from ..errors import Diagnostic
from .listing import Listing, Listings

__all__ = ["unlisted"]


def unlisted(source: ModelSpec | DatasetSpec, listings: Listings, root: str, owner: str) -> Iterator[Diagnostic]:
    """A complaint for each argument that names a file, or clearly a directory, that the source does not list.
    ``owner``: what it is called."""
    found = [listings.get(pattern, source.marks.get("files", source.mark)) for pattern in source.files]
    for scalar in _texts(source.args) if source.args is not None else ():
        text = str(scalar.value)
        path = os.path.normpath(os.path.join(root, text))
        if (what := _what(text, path)) is None or _covers(found, root, path):
            continue
        inside = os.path.relpath(path, root)
        leaves = inside.startswith("..")
        line = f"`files: [{path if leaves else inside}]`"
        place = f", and its place among those outside of the project: `outside: [{os.path.dirname(path)}]`"
        yield Diagnostic(
            f"'{text}' is a {what} that the action key does not cover",
            scalar.mark,
            f"list it in {owner}: {line}{place if leaves else ''}",
        )


def _texts(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield from [node] if isinstance(node.value, str) and node.value else []
    elif isinstance(node, Map):
        for _, value in node.entries:
            yield from _texts(value)
    else:
        for item in node.items:
            yield from _texts(item)


def _what(text: str, path: str) -> str | None:
    """A word like 'train' may be the name of a split as well as of a directory; with a slash it is a path."""
    try:
        if os.path.isfile(path):
            return "file"
        return "directory" if "/" in text and path != "/" and os.path.isdir(path) else None
    except ValueError:  # a NUL
        return None


def _covers(listings: Iterable[Listing], root: str, path: str) -> bool:
    """Whether it is listed, lies in a listed directory, or has listed files in it."""
    names = {os.path.relpath(path, root), os.path.relpath(os.path.realpath(path), os.path.realpath(root)), path}
    for listing in listings:
        for name in names:
            above = name
            while above and above not in listing.folders:
                above = os.path.dirname(above) if above != "/" else ""
            if above or name in listing.files or any(each.startswith(f"{name}/") for each in listing.files):
                return True
            if name == "." and listing.files:
                return True
    return False
