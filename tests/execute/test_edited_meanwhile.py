"""Whatever a key covers may be edited while the node runs: its result is never kept under a key of something else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from toyproject import Toy

from compressbuild.execute import scheduler
from compressbuild.execute.executor import Happening, Started
from compressbuild.execute.local import LocalExecutor
from compressbuild.plan import Cover

FILE = """\
version: 1
models: {m: {file: f.txt}}
datasets: {d: {loader: 'load:go', files: [d.txt, tree, 'more/*.txt']}}
targets:
  t: {from: m, steps: [toy.copy: {seconds: 0.3, data: d}]}
"""
LOADER = """\
from pathlib import Path
import helper
HERE = Path(__file__).parent
def go():
    found = sorted([HERE / "d.txt", *(HERE / "tree").glob("**/*.txt"), *(HERE / "more").glob("*.txt")])
    return ["CODE", helper.WORD, *(path.read_text() for path in found)]
"""


class Editing(LocalExecutor):
    """Runs an edit as soon as a node has started; every time, or once."""

    def __init__(self, edit: Callable[[], None], *, always: bool = False) -> None:
        super().__init__({**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "support")})
        self.edit, self.always = edit, always
        self.ran: list[str] = []

    def start(self, token, request, **options) -> None:
        self.ran.append(request.label)
        super().start(token, request, **options)

    def wait(self, timeout: float | None = None) -> list[Happening]:
        happened = super().wait(timeout)
        if any(isinstance(each, Started) for each in happened) and (self.always or len(self.ran) == 1):
            self.edit()
        return happened


@pytest.fixture
def project(tmp_path: Path) -> Toy:
    toy = Toy(tmp_path / "project", tmp_path / "cache")
    toy.write("f.txt", "abc")
    toy.write("Compressfile", FILE)
    toy.write("load.py", LOADER)
    toy.write("helper.py", "WORD = 'word'\n")
    for name in ("d.txt", "tree/a.txt", "tree/deep/b.txt", "more/c.txt"):
        toy.write(name, name[0])
    return toy


def _back(path: Path, text: str) -> None:
    """Other bytes for a moment, then the old ones with the old time."""
    before, old = path.stat(), path.read_bytes()
    path.write_text(text)
    path.write_bytes(old)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _in_place(path: Path, text: str) -> None:
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, path)


def _come_and_go(path: Path) -> None:
    path.write_text("X")
    path.unlink()


EDITS: dict[str, Callable[[Path], None]] = {
    "a listed file": lambda root: (root / "d.txt").write_text("D"),
    "a listed file, with its old time": lambda root: _in_place(root / "d.txt", "D"),
    "a listed file, and back again": lambda root: _back(root / "d.txt", "D"),
    "a listed file, replaced": lambda root: _replace(root / "d.txt", "D"),
    "a file in a listed directory": lambda root: (root / "tree/deep/b.txt").write_text("B"),
    "a new file in a listed directory": lambda root: (root / "tree/new.txt").write_text("N"),
    "a file that comes and goes in a listed directory": lambda root: _come_and_go(root / "tree/deep/x.txt"),
    "a file that leaves a listed directory": lambda root: (root / "tree/a.txt").unlink(),
    "a new file that a glob lists": lambda root: (root / "more/new.txt").write_text("N"),
    "the loader": lambda root: _replace(root / "load.py", LOADER.replace("CODE", "EDITED")),
    "a module that it imports": lambda root: (root / "helper.py").write_text("WORD = 'other'\n"),
    "a package that takes a module's place": lambda root: (
        (root / "helper").mkdir(),
        (root / "helper/__init__.py").write_text("WORD = 'package'\n"),
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_the_node_runs_again(project, what: str) -> None:
    executor = Editing(lambda: EDITS[what](project.root))
    report, _ = project.build("all", executor=executor)
    assert report.exit_code == 0, project.events
    assert executor.ran == ["t/toy.copy"] * 2, project.events
    assert project.build("all")[1] == [], "the second result has the key of what is there now"
    incremental = project.value("t")
    clean = Toy(project.root, project.root.parent / "clean")
    clean.build("all", executor=Editing(lambda: None))
    assert clean.value("t") == incremental


@pytest.mark.parametrize("what", ["a listed file", "the loader"])
def test_the_sweep_sees_a_check_that_looks_away(project, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(Cover, "changed", lambda self: None)
    executor = Editing(lambda: EDITS[what](project.root))
    project.build("all", executor=executor)
    assert executor.ran == ["t/toy.copy"]


def test_what_never_rests_fails_by_its_name(project) -> None:
    executor = Editing(lambda: _replace(project.root / "d.txt", "D"), always=True)
    report, _ = project.build("all", executor=executor)
    assert report.exit_code == 1
    assert executor.ran == ["t/toy.copy"] * 3
    failed = next(event for event in project.events if getattr(event, "status", "") == "failed")
    assert failed.error == "'d.txt' changed while it ran, 3 times"


def test_a_file_that_goes_is_named(project) -> None:
    report, _ = project.build("all", executor=Editing(lambda: (project.root / "helper.py").unlink()))
    assert report.exit_code == 1
    report, _ = project.build("all", executor=Editing(lambda: (project.root / "d.txt").unlink()))
    assert report.exit_code == 1


def test_a_model_file_is_copied_as_its_key_says(toy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.write("f.txt", "OLD")
    toy.write("Compressfile", "version: 1\nmodels: {m: {file: f.txt}}\ntargets: {t: {from: m, steps: [toy.copy]}}\n")
    copied = scheduler.import_file
    texts = iter(["NEW"])

    def edited(*arguments: object) -> None:
        toy.write("f.txt", next(texts, "NEW"))
        copied(*arguments)

    monkeypatch.setattr(scheduler, "import_file", edited)
    toy.build("all")
    monkeypatch.undo()
    toy.write("f.txt", "OLD")
    toy.build("all")
    assert toy.value("t") == "OLD"
