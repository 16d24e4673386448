"""The graph that every tool builds: a root, then as many layers as each is wide. A node reads two of the layer above.

A node's value is a number: its salt mixed with the numbers that it reads. :meth:`Layered.values` works the numbers out
without any build system, so it can judge what each of them wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

MODULUS = 1_000_003
COARSE = 10
"""The root divides what it reads by this: a change within ten gives the same value."""

SOURCE, LEAF = "source.txt", "leaf.txt"


@dataclass(frozen=True)
class Node:
    """``parents``: nodes that it reads, in this order. ``file``: a source file, which it reads last."""

    name: str
    salt: int
    parents: tuple[str, ...] = ()
    file: str | None = None
    coarse: bool = False

    @property
    def output(self) -> str:
        return f"out/{self.name}"

    @property
    def reads(self) -> list[str]:
        return [*(f"out/{parent}" for parent in self.parents), *([self.file] if self.file else [])]


@dataclass(frozen=True)
class Layered:
    """``nodes``: parents first. ``held``: the node at which a build can be stopped half-way."""

    nodes: tuple[Node, ...]

    @classmethod
    def of(cls, size: int) -> Layered:
        width = max(2, round((size - 1) ** 0.5))
        nodes = [Node("n0", 0, file=SOURCE, coarse=True)]
        for number in range(1, size):
            layer, place = divmod(number - 1, width)
            above = 1 + (layer - 1) * width
            numbers = (0,) if layer == 0 else (above + place, above + (place * 7 + 3) % width)
            nodes.append(Node(f"n{number}", number, tuple(dict.fromkeys(f"n{each}" for each in numbers))))
        nodes[-1] = replace(nodes[-1], file=LEAF)
        return cls(tuple(nodes))

    @property
    def held(self) -> Node:
        return self.nodes[len(self.nodes) // 2]

    @property
    def tuned(self) -> Node:
        """The last node's first parent: few nodes depend on it, and it has children."""
        name = self.nodes[-1].parents[0]
        return next(node for node in self.nodes if node.name == name)

    def salted(self, name: str, salt: int) -> Layered:
        """The same graph with another parameter of one node."""
        return Layered(tuple(replace(node, salt=salt) if node.name == name else node for node in self.nodes))

    def below(self, name: str) -> set[str]:
        """The node and all that depend on it."""
        found = {name}
        for node in self.nodes:
            if found.intersection(node.parents):
                found.add(node.name)
        return found

    def values(self, files: Mapping[str, int]) -> dict[str, int]:
        """What each node has to write. ``files``: the numbers in the source files."""
        values: dict[str, int] = {}
        for node in self.nodes:
            total = node.salt
            for number in [*(values[parent] for parent in node.parents), *([files[node.file]] if node.file else [])]:
                total = (total * 31 + (number // COARSE if node.coarse else number)) % MODULUS
            values[node.name] = total
        return values


def number(path: Path) -> int | None:
    """None where there is no number."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
