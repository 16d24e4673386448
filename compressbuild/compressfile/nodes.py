"""The located tree that the reader makes of a text: scalars, sequences and mappings, each with its mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import Mark

__all__ = ["Map", "Node", "Scalar", "Seq", "plain"]

Plain = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Scalar:
    """A typed leaf. ``quoted`` scalars are always strings."""

    value: Plain
    mark: Mark
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Seq:
    items: tuple[Node, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Map:
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
