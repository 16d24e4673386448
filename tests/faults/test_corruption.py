"""Every file that a build leaves, damaged in every way: found out, refused or made again; never used, never a hang."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Ran
from damage import DAMAGES, HARMLESS, OTHER, Hang, modes_count, within
from quick import Quick
from sweeps import shard, tallied

TEXT = """
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length, wait], baseline: a}
targets:
  a: {from: f, steps: [{toy.mix: {salt: 1}}]}
  b: {from: a, steps: [{toy.copy: {note: x}}], gates: {length: {max: 100}}}
"""
READING = (("verify",), ("show", "b"), ("report",), ("history", "b"), ("list",), ("why", "b"), ("cache", "stats"))
SECONDS = 20
"""After these, a command counts as hung. Each takes a tenth of one."""
REFUSED = ("cache/version", "cache/locks/")
"""Places that a build does not clear by itself: what lies there may be somebody's."""


class Project(Quick):
    def __call__(self, *args: str, code: int | None = 0, timeout: float = SECONDS, **env: str) -> Ran:
        with modes_count(), within(timeout):
            return super().__call__(*args, code=code, timeout=timeout, **env)

    def files(self) -> list[str]:
        """What a build leaves."""
        found = sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())
        return [name for name in found if name.startswith(("cache/", ".cbuild/", "build/"))]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("corrupt") / "built", toy=True)
    project.write("f.txt", "abc")
    project.write("Compressfile", TEXT)
    project("all")
    assert "nothing to do" in project("all").out
    return project


class Case:
    """One file, damaged in one way."""

    def __init__(self, built: Project, root: Path, name: str, damage: str, seed: int) -> None:
        self.name, self.damage, self.built = name, damage, built
        self.where = f"{name}: {damage}, seed {seed}"
        for directory in ("work", "spare"):
            shutil.rmtree(root / directory, ignore_errors=True)
        self.spare = root / "spare"
        self.spare.mkdir()
        self.work = built.copy(root / "work")
        DAMAGES[damage](self.work.root / name, self.spare, random.Random(seed))

    def run(self, *args: str) -> Ran:
        try:
            ran = self.work(*args, code=None)
        except (Exception, Hang) as error:
            raise AssertionError(f"{self.where}: {args} {type(error).__name__}: {error}") from error
        assert "Traceback" not in ran.text, f"{self.where}: {args}\n{ran.text}"
        return ran

    def check(self) -> None:
        self.read()
        for args in (("all", "--json"), ("cache", "verify")):
            ran = self.run(*args)
            if ran.code and self.name.startswith(REFUSED):
                for said in ("hint:", self.name.split("/")[1]):
                    assert said in ran.err, f"{self.where}: {args}: no way out\n{ran.text}"
                self.clear()
                ran = self.run(*args)
            if args[0] == "all":
                assert ran.code == 0, f"{self.where}: the next build fails\n{ran.text}"
                self.right()
        assert self.run("all").code == 0, self.where
        assert self.run("cache", "verify").code == 0, f"{self.where}: the cache stays damaged"
        assert self.run("verify").code == 0, f"{self.where}: verify fails"
        assert not self.run("all", "--json").started, f"{self.where}: not settled"
        self.right()
        assert Path("/etc/passwd").stat().st_size > 0
        if self.damage == "hard link":
            there = (self.spare / "elsewhere").read_bytes()
            assert there.startswith(OTHER), f"{self.where}: somebody's file was changed"

    def read(self) -> None:
        """Nothing that only reads is led astray."""
        for args in READING:
            ran = self.run(*args)
            usage = args[0] == "history" and ".cbuild/history" in self.name  # as if it was never built
            assert ran.code in ((0, 1, 2) if usage else (0, 1)), f"{self.where}: {args} exits {ran.code}\n{ran.text}"
            if args == ("verify",) and self.name.startswith("build/") and self.damage not in HARMLESS:
                assert ran.code == 1, f"{self.where}: verify believes it\n{ran.text}"

    def right(self) -> None:
        assert self.work.everything() == self.built.everything(), f"{self.where}: other bytes are published"

    def clear(self) -> None:
        """Do what the hint says."""
        path = self.work.root / self.name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def test_a_sample(built: Project, fast_path: Path, record_property: Callable[[str, object], None]):
    """A file of each area, damaged in some way."""
    with tallied(record_property) as tally:
        for area in ("cache/cas/", "cache/ac/", "cache/", ".cbuild/", "build/"):
            name = tally.rng.choice([name for name in built.files() if name.startswith(area)])
            with tally.case():
                Case(built, fast_path, name, tally.rng.choice(sorted(DAMAGES)), tally.seed).check()


@pytest.mark.slow
@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_every_file(built: Project, fast_path: Path, damage: str, record_property: Callable[[str, object], None]):
    with tallied(record_property) as tally:
        for number, name in enumerate(tally.upto(shard(built.files()))):
            with tally.case():
                Case(built, fast_path, name, damage, tally.seed + number).check()
