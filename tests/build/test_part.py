"""A build of a part says and leaves what a build of the whole does, whatever was edited or damaged before.

The oracle: without the state, the next build goes the whole way. It must find nothing to do, publish nothing, and say
in the same words what the no-op says.
"""

from __future__ import annotations

import random
import shutil
import sys
import types
from pathlib import Path

import pytest
from command import Inline
from inline import InlineExecutor

from compressbuild import noop
from compressbuild.build import run
from compressbuild.build.state import part


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> list[part.Part | None]:
    """What ``part.find`` found, build by build. Nodes run in this process, which imports no code of a project."""
    loaders = types.ModuleType("loaders")
    vars(loaders)["rows"] = lambda: Path("rows.txt").read_text()
    monkeypatch.setitem(sys.modules, "loaders", loaders)
    parts: list[part.Part | None] = []
    find = part.find
    monkeypatch.setattr(run, "LocalExecutor", lambda environ, **_: InlineExecutor())
    monkeypatch.setattr(part, "find", lambda *args: parts.append(find(*args)) or parts[-1])
    return parts


class Project:
    """A random project whose targets are made from each other, some in a matrix, measured and gated."""

    def __init__(self, root: Path, rng: random.Random, targets: int) -> None:
        self.work = Inline(root, toy=True)
        self.rng = rng
        self.files = {f"f{i}.txt": str(i) for i in range(3)}
        self.notes: dict[str, str] = {}
        self.steps: dict[str, dict[str, object]] = {}
        names = ["f0", "f1", "f2"]
        for i in range(targets):
            others = rng.sample(names, k=rng.choice((0, 0, 1, 2)))
            self.steps[f"t{i}"] = {"from": rng.choice(names), "salt": rng.randrange(4), "others": others, "extra": ""}
            names.append(f"t{i}")
        self.loader = "def rows():\n    return open('rows.txt').read()\n"

    def text(self) -> str:
        lines = ["version: 1", 'datasets: {d: {loader: "loaders:rows", files: [rows.txt]}}', "models:"]
        lines += [f"  f{i}: {{file: f{i}.txt}}" for i in range(3)]
        lines += ["evaluate: {metrics: [length], baseline: t0}", "groups: {some: [t0, t1]}", "targets:"]
        for number, (name, step) in enumerate(self.steps.items()):
            lines += [f"  # {self.notes[name]}"] if name in self.notes else []
            others = ", ".join(step["others"])
            mix = f"toy.mix: {{salt: {step['salt']}, modulus: 1000, others: [{others}]}}"
            copy = ", toy.copy: {data: d}" if number % 5 == 4 else ""
            gates = "\n    gates: {length: {max: 100}}" if number % 3 == 0 else ""
            lines += [f"  {name}:{step['extra']}", f"    from: {step['from']}", f"    steps: [{mix}{copy}]{gates}"]
        lines.append("  m-${i}:\n    matrix: {i: [1, 2, 3]}\n    from: t${i}\n    steps: [toy.copy: {note: a}]")
        return "\n".join([*lines, ""])

    def write(self) -> None:
        self.work.write("Compressfile", self.text())
        for name, value in {**self.files, "rows.txt": "1", "loaders.py": self.loader}.items():
            if not (self.work.root / name).exists() or (self.work.root / name).read_text() != value:
                self.work.write(name, value)

    def edit(self) -> None:
        rng, root = self.rng, self.work.root
        name = rng.choice(list(self.steps))
        match rng.randrange(10):
            case 0:
                self.files[rng.choice(list(self.files))] = str(rng.randrange(30))
            case 1:
                self.notes[name] = f"note {rng.random()}"
            case 2:
                self.steps[name]["extra"] = f" # {rng.random()}\n" if rng.random() < 0.5 else ""
            case 3:
                victim = rng.choice([p for p in sorted((root / "build").rglob("*")) if p.is_file()])
                rng.choice((Path.unlink, lambda p: p.write_text("spoilt"), lambda p: shutil.rmtree(p.parent)))(victim)
            case 4:
                victim = rng.choice(
                    [p for p in sorted((root / "cache").rglob("*")) if p.is_file() and len(p.name) == 64]
                )
                victim.chmod(0o644)
                rng.choice((Path.unlink, lambda p: p.write_text("spoilt")))(victim)
            case 5:
                self.loader += f"# {rng.random()}\n" if rng.random() < 0.5 else f"x = {rng.random()}\n"
            case 6:
                before = list(self.steps)[: list(self.steps).index(name)]
                self.steps[name]["from"] = rng.choice(["f0", "f1", *before])
            case 7:  # perhaps the very work of another target
                other = self.steps[rng.choice(list(self.steps)[: list(self.steps).index(name) + 1])]
                self.steps[name] |= {"from": other["from"], "salt": other["salt"], "others": other["others"]}
            case _:
                self.steps[name]["salt"] = rng.randrange(5)

    def published(self) -> dict[str, bytes]:
        build = self.work.root / "build"
        return {str(p.relative_to(build)): p.read_bytes() for p in sorted(build.rglob("*")) if p.is_file()}

    def check(self, *words: str) -> None:
        """What the last build of ``words`` left is what a build of the whole leaves."""
        with self.work.world(*words):
            said = noop.check(list(words))
        assert said is not None, "no state"
        before = self.published()
        for folder in ("noop", "rows"):
            shutil.rmtree(self.work.root / ".cbuild" / folder)
        whole = self.work(*words)
        assert whole.out == said, whole.out
        assert self.published() == before


@pytest.mark.parametrize("seed", range(6))
def test_a_part_is_as_the_whole(tmp_path: Path, seed: int, found: list[part.Part | None]) -> None:
    rng = random.Random(seed)
    project = Project(tmp_path / "project", rng, 12)
    project.write()
    words = ["all"] if seed % 2 == 0 else ["some", "t7", "t9", "m-2"]
    project.work(*words)
    for _ in range(8):
        for _ in range(rng.choice((1, 1, 2))):
            project.edit()
        project.write()
        project.work(*words)
        if rng.random() < 0.5:
            project.check(*words)
    project.check(*words)
    assert sum(each is not None for each in found) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_many_parts(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    project = Project(tmp_path / "project", rng, rng.randint(10, 40))
    project.write()
    words = ["all"] if seed % 2 == 0 else ["some", "t7", "t9", "m-2"]
    project.work(*words)
    for _ in range(10):
        project.edit()
        project.write()
        project.work(*words)
        project.check(*words)
        project.work(*words)
