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
from compressbuild.build.state import kept, part


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
        assert (whole.out, whole.err) == said, whole.text
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


LEAF = """\
version: 1
models: {f: {file: f.txt}}
targets:
  a: {from: f, steps: [toy.mix: {salt: 1}]}
  b: {from: a, steps: [toy.mix: {salt: 2}]}
  c: {from: a, steps: [toy.mix: {salt: 3}]}
  d: {from: f, steps: [toy.mix: {salt: 4}]}
"""


@pytest.fixture
def leaf(tmp_path: Path) -> Inline:
    work = Inline(tmp_path / "leaf", toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", LEAF)
    work("all")
    return work


def test_only_what_a_change_reaches_is_in_the_part(leaf: Inline, found: list[part.Part | None]) -> None:
    leaf.edit("Compressfile", "salt: 3", "salt: 5")
    ran = leaf("all")
    assert found[-1] is not None
    assert found[-1].selection.names == ("c",)
    assert list(found[-1].project.spec.targets) == ["a", "c"]
    assert ran.out.endswith("4 of 4 targets up to date (1 run, 4 cached)\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1", "version: 1\nvars: {x: 1}"),
        ("  d: {", "  e: {from: f, steps: [toy.mix]}\n  d: {"),
        ("  d: {", "  dd: {"),
        ("  d: {from: f, steps: [toy.mix: {salt: 4}]}\n", ""),
        ("  b: {from: a,", "  b: {from: nowhere,"),
        ("  b: {from: a,", "  b: {from: b,"),
        ("  b: {from: a, steps: [", "  b: {from: a, steps: [["),
        ("salt: 2}]}", "salt: 2}]"),
    ],
)
def test_what_changes_more_than_an_entry_is_read_whole(
    leaf: Inline, found: list[part.Part | None], old: str, new: str
) -> None:
    leaf.edit("Compressfile", old, new)
    leaf("all", code=None)
    assert found[-1] is None


@pytest.mark.parametrize("code", ["f.txt", "salt: 1"])
def test_what_reaches_more_than_half_is_built_whole(leaf: Inline, found: list[part.Part | None], code: str) -> None:
    if code == "f.txt":
        leaf.write("f.txt", "other")
    else:
        leaf.edit("Compressfile", code, "salt: 9")
    leaf("all")
    assert found[-1] is None


def test_an_input_edited_during_the_build_is_seen(leaf: Inline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state must not take its new stat for that of the bytes that were used."""
    settle = run.Build._settle

    def edited(build: run.Build, name: str) -> object:
        settled = settle(build, name)
        if name == "d":
            leaf.write("f.txt", "edited")
        return settled

    monkeypatch.setattr(run.Build, "_settle", edited)
    leaf.edit("Compressfile", "salt: 4", "salt: 5")
    leaf("all")  # a part
    shutil.rmtree(leaf.root / ".cbuild/noop")
    leaf("all")  # the whole
    monkeypatch.undo()
    with leaf.world("all"):
        assert noop.check(["all"]) is None


def test_a_damaged_state_is_no_state(leaf: Inline, found: list[part.Part | None]) -> None:
    rng = random.Random(1)
    for folder in ("noop", "rows"):
        (path,) = (leaf.root / ".cbuild" / folder).iterdir()
        data = path.read_bytes()
        damaged = [data[:-1], data + b"x", b"", data[8:], b"\0" * len(data)]
        for at in rng.sample(range(len(data)), 20):
            damaged.append(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
        for each in damaged:
            path.write_bytes(each)
            with leaf.world("all"):
                assert kept.load(["all"]) is None
        path.write_bytes(data)
        with leaf.world("all"):
            assert kept.load(["all"]) is not None
    path.write_bytes(b"")
    leaf.edit("Compressfile", "salt: 3", "salt: 5")
    leaf("all")
    assert found[-1] is None


class Killed(BaseException):
    pass


@pytest.mark.parametrize("written", [0, 1])
def test_killed_while_the_state_is_written(
    leaf: Inline, monkeypatch: pytest.MonkeyPatch, found: list[part.Part | None], written: int
) -> None:
    """With the old state, or one half old and one half new, the next build sees that the change was taken back."""
    before = (leaf.root / "build/c/value").read_text()
    replace, calls = kept._replace, iter(range(9))

    def dying(path: str, data: bytes) -> OSError | None:
        if next(calls) == written:
            raise Killed
        return replace(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(kept, "_replace", dying)
        leaf.edit("Compressfile", "salt: 3", "salt: 5")
        with pytest.raises(Killed):
            leaf("all")
    assert (leaf.root / "build/c/value").read_text() != before
    leaf.edit("Compressfile", "salt: 5", "salt: 3")
    leaf("all")
    assert (leaf.root / "build/c/value").read_text() == before
    assert (found[-1] is None) == (written == 1)
