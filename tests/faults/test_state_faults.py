"""Commands beside the build, with a fault at each of their file-system calls: nothing is left half written, nothing is
said that is not so, and the same command, run again, does what it would have done.

A scene is a command in a project that is ready for it. After the fault, each file that it writes is the old one or the
new one; after the repetition, the project is as after a run without a fault.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from command import Ran, Work
from quick import Quick
from struck import FAULTS, FULL, KILL, Call, Fault, Struck, compiled
from sweeps import Tally, shard, tallied, tries
from twotools import TwoTools, shelf

from compressbuild.environment.uv import find_uv

TEXT = """version: 1
vars: {salt: 1}
models: {f: {file: f.txt}}
evaluate: {metrics: [length]}
targets:
  a:
    from: f
    steps:
      - toy.mix: {salt: "${vars.salt}"}
      - toy.copy: {note: n}
publish:
  here: {to: out/models, targets: ["*"]}
"""
CHOICES = TEXT.replace("note: n}", "note: {choose: [x, y]}}")

Variables = dict[str, str]
UV = ("UV_FIND_LINKS", "UV_NO_INDEX", "UV_CACHE_DIR")


class Scene(NamedTuple):
    """``prepare`` makes the project ready and gives the variables of its commands. ``files``: those that the command
    writes as one; ``trees``: directories, or a file. ``then``: commands that must succeed after the repetition. What
    they print, the files and the trees are then those of a run without a fault. ``once``: it refuses to write over its
    files, so it is not repeated if they are there."""

    words: str
    prepare: Callable[[Quick], Variables | None]
    files: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    then: tuple[str, ...] = ()
    once: bool = False


def built(work: Quick) -> None:
    work("all")


def renamed(work: Quick) -> None:
    """What the target has published is of nobody."""
    work("all")
    work.edit("Compressfile", "  a:\n", "  b:\n")


def old_lock(work: Quick) -> None:
    work("lock")
    work.edit("Compressfile.lock", '"python": "', '"python": "2.')


def choices(work: Quick) -> None:
    work.write("Compressfile", CHOICES)


def pushed_before(work: Quick) -> None:
    work("all")
    work("push", "a", "here")
    work.edit("Compressfile", "salt: 1}\nmodels", "salt: 2}\nmodels")
    work("all")


def key(work: Quick) -> Path:
    pytest.importorskip("obstore")
    pytest.importorskip("cryptography")
    from keys import Pair

    return Pair.make(work.root.parent, "ci").private


def remote(work: Quick) -> Variables:
    """The shared cache lies in the project, so that the client's faults reach it, too."""
    private = key(work)
    work("all")
    return {"CBUILD_REMOTE": "file://{root}/shared", "CBUILD_SIGNING_KEY": str(private)}


def filled(work: Quick) -> Variables:
    found = remote(work)
    work("cache", "push", **{name: value.format(root=work.root) for name, value in found.items()})
    for name in ("cache", "build", ".cbuild"):
        (work.root / name).rename(work.root.parent / f"unused-{name}")
    return found


def away(work: Quick) -> Variables:
    """ssh is a program that runs here what it would run there, with another home."""
    pytest.importorskip("cbuild_ssh")
    home = work.root.parent / "home"
    home.mkdir(exist_ok=True)
    program = work.root.parent / "ssh"
    program.write_text(
        f'#!{sys.executable}\nimport os, sys\nos.chdir("/")\n'
        f"os.environ.update(HOME={str(home)!r}, XDG_CACHE_HOME={str(home / 'cache')!r})\n"
        'os.execv("/bin/sh", ["sh", "-c", sys.argv[-1]])\n'
    )
    program.chmod(0o755)
    work.edit("Compressfile", "version: 1\n", "version: 1\nhost: user@there\n")
    return {"CBUILD_SSH": shlex.quote(str(program))}


def environments(work: Quick) -> Variables:
    """Nothing is made yet. The plugin and the wheels that uv makes them of lie beside the project."""
    if find_uv() is None:
        pytest.skip("uv is not installed")
    (wheels := work.root.parent / "shelf").mkdir()
    tools = TwoTools(work.root, shelf(wheels))
    return {name: tools.environment()[name] for name in ("PYTHONPATH", *UV)}


def environment_made(work: Quick) -> Variables:
    found = environments(work)
    TwoTools(work.root, work.root.parent / "shelf")("env", "make", "new")
    return found


def environment_unwanted(work: Quick) -> Variables:
    """It was made from another lock."""
    found = environment_made(work)
    TwoTools(work.root, work.root.parent / "shelf").lock("new", "3.0")
    return found


MODEL = "model.onnx --data digits.npz --platform onnxruntime"
SEARCH = f"tune --recipe static-int8 {MODEL} --goal size --max-drop 50 --inconclusive allow"


def model(work: Quick, *commands: str) -> None:
    """A model and its data. What the commands find out of it is in the cache, so that they say the same each time."""
    for name in ("onnx", "onnxruntime", "sklearn"):
        pytest.importorskip(name)
    import numpy as np
    import ridge

    images, labels = ridge.digits()
    np.savez(work.root / "digits.npz", image=images[:200], label=labels[:200])
    ridge.write_onnx(work.root / "model.onnx", images, labels)
    for words in commands:
        Work(work.root, toy=True)(*words.split())  # in workers: this process imports no model's libraries


def inspected(work: Quick) -> None:
    model(work, f"init {MODEL} -f -")


def inspected_before(work: Quick) -> None:
    inspected(work)
    work.write("Fresh", "version: 1\n")


def searched(work: Quick) -> None:
    model(work, SEARCH)


SCENES = {
    "init": Scene(f"init {MODEL} -f Fresh --force", inspected, files=("Fresh",), then=("list -f Fresh",)),
    "init over": Scene(f"init {MODEL} -f Fresh --force", inspected_before, files=("Fresh",), then=("list -f Fresh",)),
    "tune --recipe": Scene(
        f"{SEARCH} --apply -o Chosen", searched, files=("Chosen",), then=("list -f Chosen",), once=True
    ),
    "lock": Scene("lock", built, files=("Compressfile.lock",), then=("lock --check",)),
    "lock again": Scene("lock", old_lock, files=("Compressfile.lock",), then=("lock --check",)),
    "advise": Scene("advise --measure --apply", built, files=("Compressfile",), then=("advise",)),
    "tune": Scene("tune a --minimize length --apply", choices, files=("Compressfile",), then=("all", "report")),
    "push": Scene("push a here", built, trees=("out",)),
    "push over": Scene("push a here", pushed_before, trees=("out",)),
    "cache push": Scene("cache push", remote, then=("cache push",)),
    "cache pull": Scene("cache pull", filled, then=("cache pull",)),
    "clean": Scene("clean", renamed, trees=("build",)),
    "env make": Scene("env make new", environments, then=("env verify new",)),
    "env gc": Scene("env gc", environment_unwanted, trees=("cache/env",), then=("env gc",)),
    "env verify": Scene("env verify new", environment_made, then=("env verify new",)),
    "ssh": Scene("all", away, trees=("build/a/value",)),
}


DEAR = ("init", "init over", "tune --recipe")
"""Those that start workers with a model's libraries."""


class Seen(NamedTuple):
    """What is there at the end: what the last commands said, the trees and files of the scene, what is published."""

    said: list[str]
    trees: dict[str, bytes]
    files: dict[str, bytes]
    published: set[str]


class Ready(NamedTuple):
    """``start``: the project before the command. ``made``: the files that the command writes. ``calls``: its calls."""

    start: Quick
    env: Variables
    made: dict[str, bytes]
    calls: list[Call]
    want: Seen


class Stage:
    """Each scene made ready once, and what its command leaves without a fault."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.struck = Struck(compiled(root), root)
        self._ready: dict[str, Ready] = {}

    def ready(self, name: str) -> Ready:
        if name not in self._ready:
            scene = SCENES[name]
            shutil.rmtree(self.root / name, ignore_errors=True)  # of one that was skipped meanwhile
            (self.root / name).mkdir()
            start = Quick(self.root / name / "start", toy=True)
            start.write("f.txt", "a model\n")
            start.write("Compressfile", TEXT)
            env = scene.prepare(start) or {}
            self._ready[name] = Ready(start, env, {}, [], Seen([], {}, {}, set()))
            work = self.begin(name)
            ran, calls = self.run(work, name, scene.words)
            assert ran.code == 0, ran.text
            made = {file: (work.root / file).read_bytes() for file in scene.files}
            self._ready[name] = Ready(start, env, made, calls, self.seen(work, name))
        return self._ready[name]

    def begin(self, name: str) -> Quick:
        start = self._ready[name].start
        work = start.root.with_name("work")
        if work.exists():
            shutil.rmtree(work)
        return start.copy(work)

    def run(self, work: Quick, name: str, words: str, at: int = -1, fault: Fault = KILL) -> tuple[Ran, list[Call]]:
        env = {key: value.format(root=work.root) for key, value in self._ready[name].env.items()}
        return self.struck.run(work, tuple(words.split()), at, fault, **env)

    def seen(self, work: Quick, name: str) -> Seen:
        """Raises AssertionError if one of the last commands fails."""
        scene, said = SCENES[name], []
        for words in scene.then:
            ran, _ = self.run(work, name, words)
            assert ran.code == 0, f"then {words}: exit {ran.code}\n{ran.text}"
            assert "Traceback" not in ran.text
            said.append(ran.out if words not in ("all", "report") else "")  # those show times
        files = {file: (work.root / file).read_bytes() for file in scene.files}
        return Seen(said, trees(work, scene), files, set(work.everything()))

    def check(self, name: str, at: int, fault: Fault) -> bool:
        """Whether the fault came to pass."""
        scene = SCENES[name]
        start, _, made, _, want = self.ready(name)
        old = {file: content(start.root / file) for file in made}
        work = self.begin(name)
        ran, calls = self.run(work, name, scene.words, at, fault)
        if len(calls) <= at:
            return False
        where = f"{name}: {fault} at call {at} ({calls[at].name})"
        assert (ran.code == -signal.SIGKILL) == (fault == KILL), f"{where}: exit {ran.code}\n{ran.text}"
        assert "Traceback" not in ran.text, f"{where}\n{ran.text}"
        assert ran.code == 0 or fault == KILL or ran.text.strip(), f"{where}: failed without a word"
        assert work.settle() == [], f"{where}: a process outlived its engine"
        for file, new in made.items():
            now = content(work.root / file)
            assert now in (old[file], new), f"{where}: {file} is half written\n{ran.text}"
            said = ran.code != 0 or "without results" in ran.out  # so advice has nothing to go by
            assert said or now == new, f"{where}: {file} was not written, and nobody said so\n{ran.text}"
        left = hidden(work)
        assert not left or fault == KILL or fault.stays, f"{where}: {left} are left\n{ran.text}"
        if ran.code == 0 and scene.trees:  # but for rubbish that is gone after the repetition
            there = {name: data for name, data in trees(work, scene).items() if "/." not in name}
            assert there == want.trees, f"{where}: it was not done, and nobody said so\n{ran.text}"
        # The disk fails once, or to write: it gives every object at the second reading.
        lost = sorted(path.name for path in (work.root / "cache/quarantine").glob("*"))
        assert lost == [], f"{where}: sound objects were put aside: {lost}\n{ran.text}"
        done = scene.once and all(content(work.root / file) == new for file, new in made.items())
        again, _ = (ran, calls) if done else self.run(work, name, scene.words)
        assert done or again.code == 0, f"{where}: the repetition fails\n{ran.text}\n{again.text}"
        assert "Traceback" not in again.text, f"{where}\n{again.text}"
        try:
            found = self.seen(work, name)
        except AssertionError as error:
            raise AssertionError(f"{where}: {error}\n{ran.text}\n{again.text}") from error
        assert not hidden(work), f"{where}: {hidden(work)} are left"
        assert found == want, f"{where}: not as without the fault\n{found}\n{want}\n{ran.text}\n{again.text}"
        return True

    def pairs(self, name: str) -> list[tuple[int, Fault]]:
        calls = self.ready(name).calls
        return [(at, fault) for at, call in enumerate(calls) for fault in FAULTS if fault.possible(call)]


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def hidden(work: Quick) -> list[str]:
    return sorted(path.name for path in work.root.iterdir() if path.name.startswith(".") and path.name != ".cbuild")


def trees(work: Quick, scene: Scene) -> dict[str, bytes]:
    return {
        path.relative_to(work.root).as_posix(): path.read_bytes()
        for tree in scene.trees
        for path in sorted((work.root / tree).parent.rglob("*"))
        if path.is_file() and f"{path}/".startswith(f"{work.root / tree}/")
    }


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("stage").resolve())
    yield made
    made.struck.close()


def some(stage: Stage, name: str, tally: Tally, times: int) -> None:
    pairs = stage.pairs(name)
    for _ in tally.upto(times):
        with tally.case():
            assert any(stage.check(name, *tally.rng.choice(pairs)) for _ in range(20)), "no fault came to pass"


@pytest.mark.parametrize("name", SCENES)
def test_a_sample_of_each_command(stage: Stage, name: str, record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        some(stage, name, tally, 1 if name in DEAR else 2)


@pytest.mark.parametrize(
    ("name", "call", "number", "fault"),
    [
        ("lock again", "write", -1, FULL),
        ("advise", "write", -1, FULL),
        ("advise", "rename", -1, KILL),
        ("push over", "rename", -3, KILL),
        ("push over", "unlinkat", -1, Fault(errno.EIO)),
        ("clean", "unlinkat", -1, Fault(errno.EIO)),
        ("env gc", "unlinkat", 30, Fault(errno.EACCES)),
        ("env gc", "unlinkat", 0, Fault(errno.EACCES)),
    ],
    ids=str,
)
def test_moments_that_a_sample_may_miss(stage: Stage, name: str, call: str, number: int, fault: Fault) -> None:
    """The last write of what the user keeps; between two renames; what cannot be removed."""
    numbers = [at for at, each in enumerate(stage.ready(name).calls) if each.name == call]
    assert stage.check(name, numbers[number], fault)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_many_faults_of_each_command(stage: Stage, name: str, record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        some(stage, name, tally, tries(60))


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_every_fault_of_each_command(stage: Stage, name: str, record_property: Callable[[str, object], None]) -> None:
    if "CBUILD_EVERY_CALL" not in os.environ:
        pytest.skip("takes hours: set CBUILD_EVERY_CALL=1")
    with tallied(record_property) as tally:
        pairs = stage.pairs(name)
        print(f"{name}: {len(pairs)} of these")
        for at, fault in tally.upto(tally.rng.sample(mine := shard(pairs), len(mine))):
            with tally.case():
                stage.check(name, at, fault)
