"""compressbuild: a target a node, of a plugin's one technique."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ...compare import REPO, SUPPORT
from ..layered import LEAF, SOURCE, Layered, Node
from ..place import Place
from .tool import Tool, run


class Compressbuild(Tool):
    name = "cbuild"
    mode = "`cbuild all`; each action in a forked process of its own"
    notes = {
        "cold": "where it takes too long, the nodes are run in one process without fsync before the other builds",
    }

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

    def fill(self, place: Place) -> bool:
        """The nodes run in one process, without fsync; then a build finds them in the cache."""
        words = [sys.executable, str(REPO / "benchmarks" / "build_inline.py"), "all"]
        run(place, words, PYTHONPATH=f"{place.environment()['PYTHONPATH']}{os.pathsep}{SUPPORT}")
        run(place, self.words())
        return True

    def output(self, place: Place, node: Node) -> Path:
        return place.project / "build" / node.name / "value"
