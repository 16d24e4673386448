"""Something else lies where a build keeps its history or publishes: one line says so, and no work is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Inline
from damage import within

TEXT = "version: 1\nmodels: {f: {file: f.txt}}\ntargets: {t: {from: f, steps: [toy.copy]}}\n"


@pytest.fixture
def work(tmp_path: Path) -> Inline:
    project = Inline(tmp_path / "project", toy=True)
    project.write("f.txt", "abc")
    project.write("Compressfile", TEXT)
    return project


def test_a_directory_in_place_of_the_history(work: Inline):
    place = work.root / ".cbuild" / "history" / "t.jsonl"
    place.mkdir(parents=True)
    ran = work.json("all")
    assert work.published()
    assert "its history cannot be written" in ran.targets["t"].reason
    said = work("history", "t", code=1)
    assert "Traceback" not in said.text
    assert "the history of 't' cannot be read" in said.err


def _pipe(path: Path, spare: Path):
    os.mkfifo(path)


def _directory(path: Path, spare: Path):
    (path / "inner").mkdir(parents=True)


def _link(path: Path, spare: Path):
    path.symlink_to(spare)


def _second_name(path: Path, spare: Path):
    os.link(spare, path)


def _loop(path: Path, spare: Path):
    path.symlink_to(path.name)


def _unreadable(path: Path, spare: Path):
    path.touch(mode=0)


@pytest.mark.parametrize("place", [_pipe, _directory, _link, _second_name, _loop, _unreadable])
def test_something_else_in_place_of_a_log(work: Inline, place: Callable[[Path, Path], None]):
    """The step runs, and its log is a file of its own: nothing is waited for, and nobody's file is emptied."""
    spare = work.write("../spare", "somebody's")
    log = work.root / ".cbuild" / "logs" / "t~toy.copy.log"
    log.parent.mkdir(parents=True)
    place(log, spare)
    with within(60):
        work("all")
    assert log.is_file()
    assert not log.is_symlink()
    assert spare.read_text() == "somebody's"


@pytest.mark.parametrize("name", [".cbuild", ".cbuild/logs"])
def test_a_pipe_in_place_of_the_directory_of_logs(work: Inline, name: str):
    (work.root / name).parent.mkdir(exist_ok=True)
    os.mkfifo(work.root / name)
    with within(60):
        ran = work("all", code=1)
    assert f"{name} is not a directory, and the logs of steps belong there" in ran.err
    assert "hint: move away what lies there" in ran.err


@pytest.mark.parametrize("place", [_pipe, _link], ids=["pipe", "link"])
def test_nothing_is_added_to_what_is_not_the_history(work: Inline, place: Callable[[Path, Path], None]):
    spare = work.write("../spare", "somebody's")
    history = work.root / ".cbuild" / "history" / "t.jsonl"
    history.parent.mkdir(parents=True)
    place(history, spare)
    with within(60):
        assert "its history cannot be written" in work.json("all").targets["t"].reason
    assert spare.read_text() == "somebody's"
    assert work.published()


def test_a_file_in_place_of_build(work: Inline):
    work.write("build", "not a directory")
    ran = work("all", code=1)
    assert "target 't' cannot be published in" in ran.err
    (work.root / "build").unlink()
    again = work.json("all")
    assert again.started == []
    assert work.published()
