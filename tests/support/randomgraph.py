"""Random projects with random edits, and an oracle that says what each target holds and what has to run."""

from __future__ import annotations

import contextlib
import importlib
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import graphtoy
from inline import InlineExecutor
from msgspec.structs import replace
from toyproject import Toy

from compressbuild.errors import Interrupted
from compressbuild.project import Project
from compressbuild.registry import discover
from compressbuild.store.gc import collect

__all__ = ["Graph", "History"]

MODULI = (2, 3, 1000)  # small ones make early cutoffs
CODE = "from code_of.shared import BASE\n\n\ndef load():\n    return [BASE, {value}]\n"
Action = tuple[object, ...]


@dataclass
class Step:
    technique: str
    source: str
    others: list[str]
    data: str | None
    salt: int
    modulus: int
    fail: bool = False

    def inputs(self) -> list[str]:
        return [self.source, *self.others]


@dataclass
class Expected:
    """``values``: of the targets that can be built. ``new``: the actions that must run. ``actions``: of each target."""

    values: dict[str, str]
    new: set[Action] = field(default_factory=set)
    actions: dict[str, Action] = field(default_factory=dict)


class Graph:
    """A random project as it is now."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.files = {f"f{i}": str(rng.randrange(50)) for i in range(rng.randint(1, 4))}
        self.loaders = {f"d{i}": rng.randrange(5) for i in range(rng.randint(1, 3))}
        self.base = 0
        self.comment = 0
        self.version = "1"
        self.known: set[Action] = set()
        self.steps: dict[str, Step] = {}
        names = list(self.files)
        for i in range(rng.randint(1, 26)):
            self.steps[f"t{i}"] = Step(
                technique=rng.choice(("graph.mix", "graph.mix", "graph.tool")),
                source=rng.choice(names),
                others=rng.sample(names, k=min(len(names), rng.choice((0, 0, 1, 2)))),
                data=rng.choice((None, None, *self.loaders)),
                salt=rng.randrange(3),
                modulus=rng.choice(MODULI),
            )
            names.append(f"t{i}")

    def text(self) -> str:
        lines = ["version: 1", "models:", *(f"  {name}: {{file: {name}.txt}}" for name in self.files)]
        lines += ["datasets:", *(f"  {name}: {{loader: code_of.{name}:load}}" for name in self.loaders), "targets:"]
        for name, step in self.steps.items():
            given = [f"salt: {step.salt}", f"modulus: {step.modulus}", f"others: [{', '.join(step.others)}]"]
            given += [f"data: {step.data}"] * bool(step.data) + ["fail: true"] * step.fail
            lines.append(f"  {name}: {{from: {step.source}, steps: [{step.technique}: {{{', '.join(given)}}}]}}")
        return "\n".join(lines) + "\n"

    def write(self, toy: Toy) -> None:
        toy.write("Compressfile", self.text())
        for name, value in self.files.items():
            toy.write(f"{name}.txt", value)
        toy.write("code_of/__init__.py", "")
        toy.write("code_of/shared.py", f"BASE = {self.base}  # {self.comment}\n")
        for name, value in self.loaders.items():
            toy.write(f"code_of/{name}.py", CODE.format(value=value))

    def edit(self) -> str:
        """Change something, perhaps back to what it was; its name."""
        rng, step = self.rng, self.steps[self.rng.choice(list(self.steps))]
        what = rng.choice(("file", "salt", "modulus", "loader", "helper", "comment", "tool", "fail", "nothing"))
        match what:
            case "file":
                self.files[rng.choice(list(self.files))] = str(rng.randrange(50))
            case "salt":
                step.salt = rng.randrange(3)
            case "modulus":
                step.modulus = rng.choice(MODULI)
            case "loader":
                self.loaders[rng.choice(list(self.loaders))] = rng.randrange(5)
            case "helper":
                self.base = rng.randrange(3)
            case "comment":
                self.comment += 1
            case "tool":
                self.version = str(rng.randrange(1, 4))
            case "fail":
                step.fail = not step.fail
        return what

    def expect(self, wanted: set[str]) -> Expected:
        """Of a build of ``wanted`` with -k. Roles and names of imported files count; where an artifact is from does
        not."""
        needed = set(wanted)
        for name in reversed(self.steps):
            if name in needed:
                needed |= set(self.steps[name].inputs())
        found = Expected(dict(self.files))
        for name, step in self.steps.items():
            if step.fail or any(each not in found.values for each in step.inputs()):
                continue
            texts = [found.values[each] for each in step.inputs()]
            code = (step.data, self.base, self.loaders[step.data]) if step.data else None
            version = self.version if step.technique == "graph.tool" else None
            extra = self.base + self.loaders[step.data] if step.data else 0
            found.values[name] = graphtoy.mixed(step.salt, step.modulus, extra, texts, version=version)
            inputs = tuple(
                (text, each if each in self.files else "") for text, each in zip(texts, step.inputs(), strict=True)
            )
            action = (step.technique, version, step.salt, step.modulus, code, inputs)
            found.actions[name] = action
            if name in needed and action not in self.known:
                found.new.add(action)
        return found


class Cancelled(InlineExecutor):
    """Is interrupted (Ctrl-C) while the node after ``limit`` others is at work. ``lost``: labels that had not ended."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self.lost: list[str] = []
        self._pending: list[str] = []

    def start(self, token: int, request: object, **rest: object) -> None:
        super().start(token, request, **rest)
        self._pending.append(request.label)

    def wait(self, timeout: float | None = None) -> list[object]:
        if len(self.ran) > self._limit:
            self.lost = self._pending
            raise KeyboardInterrupt
        self._pending = []
        return super().wait(timeout)


class GraphToy(Toy):
    """With the plugin of these graphs, and a tool of this version."""

    version = "1"
    _registry = None

    def open(self, overrides: tuple[str, ...] = ()) -> Project:
        if GraphToy._registry is None:
            GraphToy._registry = discover(cache=None, extra=["toy", "graphtoy"])
        project = super().open(overrides)
        installed = GraphToy._registry.installed
        versions = {**installed.versions, graphtoy.TOOL: self.version}
        project.__dict__["registry"] = replace(GraphToy._registry, installed=replace(installed, versions=versions))
        return project


def target(label: str) -> str:
    return label.partition("/")[0]


@contextlib.contextmanager
def fresh_imports(root: Path) -> Iterator[None]:
    """The project's code is imported as it is now, as a worker would."""
    with mock.patch.object(sys, "path", [str(root), *sys.path]), mock.patch.object(sys, "dont_write_bytecode", True):
        importlib.invalidate_caches()
        try:
            yield
        finally:
            for name in [name for name in sys.modules if name.partition(".")[0] == "code_of"]:
                del sys.modules[name]


class History:
    """A graph's life: edits, builds, cancels, and what happens to its cache."""

    def __init__(self, root: Path, rng: random.Random) -> None:
        self.rng = rng
        self.toy = GraphToy(root)
        self.graph = Graph(rng)
        self.exact = True  # until bytes go from the cache: then a node may run again
        self.events: list[str] = []

    def run(self, rounds: int) -> None:
        for turn in range(rounds):
            self.graph.write(self.toy)
            self.toy.version = graphtoy.version = self.graph.version
            wanted = set(self.rng.sample(list(self.graph.steps), k=self.rng.randint(1, len(self.graph.steps))))
            if self.rng.random() < 0.2:
                self._cancel(wanted)
            self._build(wanted)
            self.events.append(self.graph.edit())
            if self.rng.random() < 0.3:
                self.events.append(self._befall(late=turn >= rounds // 2))

    def _build(self, wanted: set[str]) -> None:
        want = self.graph.expect(wanted)
        report, ran = self._run(wanted, InlineExecutor())
        where = f"after {self.events}"
        possible = wanted & want.values.keys()
        assert report.exit_code == (0 if possible == wanted else 1), where
        done = [label for label in ran if not self.graph.steps[target(label)].fail]
        if self.exact:
            assert len(done) == len(want.new), f"{where}: ran {ran}, for {len(want.new)} new actions"
        else:
            assert len(done) <= len(want.actions), f"{where}: ran {ran}"
        for name in possible:
            assert self.toy.value(name) == want.values[name], f"{where}: {name} has other bytes"
        again = self._run(wanted, InlineExecutor())[1]
        assert all(self.graph.steps[target(label)].fail for label in again), f"{where}: {again} ran again"
        self.graph.known |= want.new

    def _cancel(self, wanted: set[str]) -> None:
        """Finished nodes are kept, and no others."""
        want = self.graph.expect(wanted)
        executor = Cancelled(self.rng.randrange(6))
        self.events.append("cancel")
        try:
            self._run(wanted, executor)
            lost: list[str] = []
        except Interrupted:
            lost = executor.lost
        kept = {target(label) for label in executor.ran if label not in lost}
        self.graph.known |= {want.actions[name] for name in kept if not self.graph.steps[name].fail}

    def _befall(self, *, late: bool) -> str:
        """Something that is no edit. The later half of a life also loses bytes of the cache."""
        harmless = ("gc", "no published files", "no state")
        what = self.rng.choice((*harmless, "gc by size", "flipped bit", "lost record") if late else harmless)
        self.exact = self.exact and what in harmless
        match what:
            case "gc" | "gc by size":
                project = self.toy.open()
                try:
                    limit = self.rng.randrange(1, 4000) if what == "gc by size" else None
                    collect(project.store, max_size=limit)
                finally:
                    project.close()
            case "no published files":
                shutil.rmtree(self.toy.root / "build", ignore_errors=True)
            case "no state":
                shutil.rmtree(self.toy.root / ".cbuild", ignore_errors=True)
            case "flipped bit":
                path = self._some("cas")
                data = bytearray(path.read_bytes())
                data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
                path.chmod(0o644)
                path.write_bytes(data)
            case "lost record":
                self._some("ac").unlink()
        return what

    def _some(self, part: str) -> Path:
        return self.rng.choice(
            sorted(p for p in (self.toy.cache / part).rglob("*") if p.is_file() and p.stat().st_size)
        )

    def _run(self, wanted: set[str], executor: InlineExecutor) -> tuple[object, list[str]]:
        """A build whose nodes import the project's code afresh, as a worker does."""
        with fresh_imports(self.toy.root):
            return self.toy.build(*sorted(wanted), executor=executor, keep_going=True)
