"""A project that uses the toy plugin, built in this process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path

from compressbuild.build.outcome import BuildReport
from compressbuild.build.run import Build
from compressbuild.execute.executor import Executor
from compressbuild.execute.observe import Observe
from compressbuild.execute.places import Places
from compressbuild.execute.pools import Pools
from compressbuild.project import Project
from compressbuild.registry import Registry, discover

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from inline import InlineExecutor  # noqa: E402  found through the line above

CHAIN = """
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length]}
targets:
  a: {from: f, steps: [{toy.mix: {salt: 1}}]}
  b: {from: a, steps: [{toy.copy: {note: n}}]}
"""
"""A target that is made from another."""


@cache
def _registry() -> Registry:
    return discover(cache=None, extra=["toy"])


class _Known(Project):
    """A project that has the toy plugin, too."""

    @cached_property
    def registry(self) -> Registry:
        return _registry()


class Toy:
    """A directory with a Compressfile; every ``build`` opens the project again, as a command would."""

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        self.root = root
        self.cache = cache or root / "cache"
        self.environ: dict[str, str] = {}
        root.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def open(self, overrides: Sequence[str] = ()) -> Project:
        return _Known(self.root / "Compressfile", overrides, cache=self.cache, environ=self.environ)

    def build(
        self, *words: str, overrides: Sequence[str] = (), executor: Executor | None = None, **options: bool
    ) -> tuple[BuildReport, list[str]]:
        """(report, labels of the nodes that ran)."""
        project = self.open(overrides)
        inline = executor or InlineExecutor()
        self.events: list[object] = []
        try:
            selection = project.select(words or ("all",))
            observe = Observe(project.state / "logs", own_dirs=(), observers=[self.events.append])
            build = Build(project, selection, inline, Places(Pools(cpus=2)), observe, **options)
            report = build.run(2)
        finally:
            project.close()
        return report, getattr(inline, "ran", [])

    def value(self, target: str) -> str:
        return (self.root / "build" / target / "value").read_text()


def one_collapsed(root: Path, gates: str = "{}") -> Toy:
    """Target ``t`` has lost a class against the model that is its baseline, and these gates."""
    toy = Toy(root)
    toy.write("good.txt", "good")
    toy.write("bad.txt", "bad")
    toy.write(
        "Compressfile",
        "version: 1\nmodels: {good: {file: good.txt}, bad: {file: bad.txt}}\n"
        "evaluate: {metrics: [shares], baseline: good}\n"
        f"targets: {{t: {{from: bad, steps: [toy.copy], gates: {gates}}}}}\n",
    )
    return toy
