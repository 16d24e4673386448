"""compressbuild: a target a node, of a plugin's one technique."""

from __future__ import annotations

import sys
from pathlib import Path

from ..layered import LEAF, SOURCE, Layered, Node
from ..place import Place
from .tool import Tool


class Compressbuild(Tool):
    name = "cbuild"
    mode = "`cbuild all`; each action in a process of its own, fork-started"

    def find(self, venvs: Path | None) -> str | None:
        beside = Path(sys.executable).with_name("cbuild")
        return str(beside) if beside.exists() else None

    def absent(self) -> str:
        return "not beside this Python"

    def write(self, place: Place, graph: Layered) -> None:
        models = {SOURCE: "source", LEAF: "leaf"}
        lines = ["version: 1", "models:"]
        lines += [f"  {name}: {{file: {file}, kind: number}}" for file, name in models.items()]
        lines.append("targets:")
        for node in graph.nodes:
            first, *others = [*node.parents, *([models[node.file]] if node.file else [])]
            coarse = ", coarse: true" if node.coarse else ""
            beside = f", others: [{', '.join(others)}]" if others else ""
            params = f"{{name: {node.name}, salt: {node.salt}{coarse}{beside}}}"
            lines.append(f"  {node.name}: {{from: {first}, steps: [{{peers.mix: {params}}}]}}")
        (place.project / "Compressfile").write_text("\n".join(lines) + "\n")

    def words(self) -> list[str]:
        return [str(self.program), "all", "-j", str(self.jobs)]

    def output(self, place: Place, node: Node) -> Path:
        return place.project / "build" / node.name / "value"
