"""The located tree that the reader makes of a text: scalars, sequences and mappings, each with its mark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import Mark

__all__ = ["Broken", "Map", "Node", "Scalar", "Seq", "describe", "located", "plain"]

Plain = None | bool | int | float | str


class Scalar(msgspec.Struct, frozen=True):
    """A typed leaf. ``quoted`` scalars are always strings."""

    value: Plain
    mark: Mark
    quoted: bool = False


class Broken(Scalar, frozen=True):
    """Stands where a value was refused: its error is reported already, so later passes say nothing more about it."""


class Seq(msgspec.Struct, frozen=True):
    items: tuple[Node, ...]
    mark: Mark


class Map(msgspec.Struct, frozen=True):
    """Entries in the order written; keys are unique string scalars."""

    entries: tuple[tuple[Scalar, Node], ...]
    mark: Mark

    def get(self, key: str) -> Node | None:
        return next((value for name, value in self.entries if name.value == key), None)

    def key_mark(self, key: str) -> Mark:
        return next((name.mark for name, _ in self.entries if name.value == key), self.mark)


Node = Scalar | Seq | Map


def plain(node: Node) -> Any:
    """The Python value of a node, without places."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Seq):
        return [plain(item) for item in node.items]
    return {str(key.value): plain(value) for key, value in node.entries}


def located(value: Any, mark: Mark) -> Node:
    """The node of a Python value that was written nowhere; all of it is at ``mark``."""
    if isinstance(value, Mapping):
        return Map(tuple((Scalar(str(key), mark), located(item, mark)) for key, item in value.items()), mark)
    if isinstance(value, list | tuple):
        return Seq(tuple(located(item, mark) for item in value), mark)
    return Scalar(value, mark, isinstance(value, str))


def describe(node: Node) -> str:
    """A node in the words of an error message: ``the text 'abc'``, ``a list``, ``empty (null)``."""
    if isinstance(node, Map):
        return "a mapping"
    if isinstance(node, Seq):
        return "a list"
    value = node.value
    if value is None:
        return "empty (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text '{value if len(value) <= 40 else value[:39] + '…'}'"
    return f"the number {value}"
