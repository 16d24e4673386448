"""Paths of a Compressfile: relative to its directory and inside it, save for what ``outside:`` lists."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from ..errors import Mark
from .checks import Checks
from .nodes import Node

__all__ = ["Paths"]


class Paths:
    """Reads paths. ``outside``: normal forms of the places beyond the root that are allowed, with all below them.

    Purely lexical: whether a file exists, or a link leads elsewhere, is the planner's to see.
    """

    def __init__(self, checks: Checks, outside: Sequence[str] = ()) -> None:
        self._checks = checks
        self._outside = tuple(outside)

    def one(self, node: Node, what: str) -> str | None:
        """A path in normal form (``./a//b`` is ``a/b``)."""
        text = self._checks.text(node, what, "a path")
        return None if text is None else self._normal(text, node.mark, what)

    def many(self, node: Node, what: str) -> tuple[str, ...]:
        """A list of paths."""
        found = (self._normal(text, mark, f"an item of {what}") for text, mark in self._checks.texts(node, what))
        return tuple(path for path in found if path is not None)

    def _normal(self, text: str, mark: Mark, what: str) -> str | None:
        path = normal(text)
        if not leaves_root(path) or any(path == place or path.startswith(f"{place}/") for place in self._outside):
            return path
        self._checks.add(
            f"{what} leads outside the project: '{text}'",
            mark,
            f"move it into the project, or list its place: 'outside: [{posixpath.dirname(path) or path}]'",
        )
        return None


def normal(text: str) -> str:
    """A path's normal form, by its letters alone."""
    return posixpath.normpath(text)


def leaves_root(path: str) -> bool:
    """Whether a path in normal form is absolute or climbs out of its start."""
    return path == ".." or path.startswith(("/", "../"))
