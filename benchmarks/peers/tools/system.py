"""ninja and make."""

from __future__ import annotations

from ..layered import Layered
from ..place import Place
from .shell import command
from .tool import Tool


class Ninja(Tool):
    name = "ninja"
    mode = "`restat`, with actions that keep an equal output"
    notes = {"touched": "ninja compares times, not content", "back": "ninja keeps no earlier results"}

    def write(self, place: Place, graph: Layered) -> None:
        lines = ["rule act", "  command = $command", "  restat = 1"]
        for node in graph.nodes:
            text = command(place, graph, node, keep_equal=True).replace("$", "$$")
            lines += [f"build {node.output}: act {' '.join(node.reads)}", f"  command = {text}"]
        (place.project / "build.ninja").write_text("\n".join(lines) + "\n")

    def words(self) -> list[str]:
        return [str(self.program), "--quiet", "-j", str(self.jobs)]


class Make(Tool):
    name = "make"
    mode = "`-rR`, without built-in rules"
    notes = {
        "touched": "make compares times, not content",
        "cutoff": "make compares times, not content",
        "changed": "a parameter that stands in the Makefile is no prerequisite",
        "killed": "a half-written file is newer than its prerequisites, so make takes it as finished",
    }

    def write(self, place: Place, graph: Layered) -> None:
        lines = [".PHONY: all", f"all: {' '.join(node.output for node in graph.nodes)}"]
        for node in graph.nodes:
            text = command(place, graph, node).replace("$", "$$")
            lines += [f"{node.output}: {' '.join(node.reads)}", f"\t@{text}"]
        (place.project / "Makefile").write_text("\n".join(lines) + "\n")

    def words(self) -> list[str]:
        return [str(self.program), "-s", "-r", "-R", "-j", str(self.jobs), "all"]
