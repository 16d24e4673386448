"""A build system: how it is found, what describes the graph to it, and the command that builds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from ..layered import Layered, Node
from ..place import Place


class Tool:
    """``package``: what pip installs it by; without one it is the system's. ``program``: None where it is absent.
    ``notes``: footnotes, by scenario."""

    name: ClassVar[str]
    package: ClassVar[str | None] = None
    notes: ClassVar[dict[str, str]] = {}
    mode: ClassVar[str] = ""
    remedy: ClassVar[tuple[str, ...]] = ()
    """Commands to run after a ``kill -9``, for a tool that refuses to build then. The last one builds."""

    coarse_clock: ClassVar[bool] = False
    """Whether it sees an edit only in a later second than the last build's."""

    def __init__(self, venvs: Path | None, jobs: int) -> None:
        self.jobs = jobs
        self.program = self.find(venvs)

    def find(self, venvs: Path | None) -> str | None:
        if self.package is None:
            return shutil.which(self.name)
        found = venvs and venvs / self.name / "bin" / self.name
        return str(found.absolute()) if found and found.exists() else None

    def absent(self) -> str:
        """Why it was not found, and what would change that."""
        return "not on this system" if self.package is None else "not in --venvs: run with --install"

    def version(self) -> str:
        said = subprocess.run([str(self.program), "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"\d+\.\d+(\.\d+)?", said)
        return found[0] if found else "of unknown version"

    def prepare(self, place: Place) -> None:
        """Once in a fresh place."""

    def write(self, place: Place, graph: Layered) -> None:
        """The description of ``graph``, in place of any other. Abstract: each tool has its own."""
        raise NotImplementedError

    def words(self) -> list[str]:
        """The arguments of a build. Abstract: each tool has its own."""
        raise NotImplementedError

    def fill(self, place: Place) -> bool:
        """Bring a fresh place to where a first build would leave it, in less time than that takes; False: it cannot."""
        return False

    def output(self, place: Place, node: Node) -> Path:
        return place.project / node.output


class PythonTool(Tool):
    """A tool whose description is a Python file that reads the graph from ``graph.json`` and acts in Python."""

    file: ClassVar[str]
    text: ClassVar[str]

    def write(self, place: Place, graph: Layered) -> None:
        rows = [[node.name, node.salt, node.coarse, node.reads, node.output] for node in graph.nodes]
        (place.project / "graph.json").write_text(json.dumps(rows))
        if not (place.project / self.file).exists():
            (place.project / self.file).write_text(self.text)


def run(place: Place, words: Sequence[str], **environment: str) -> None:
    """Not measured. CalledProcessError if it fails."""
    subprocess.run(words, cwd=place.project, env=place.environment() | environment, check=True, capture_output=True)
