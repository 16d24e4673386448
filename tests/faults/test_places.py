"""Something else lies where a build keeps its history or publishes: one line says so, and no work is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Inline

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


def test_a_file_in_place_of_build(work: Inline):
    work.write("build", "not a directory")
    ran = work("all", code=1)
    assert "target 't' cannot be published in" in ran.err
    (work.root / "build").unlink()
    again = work.json("all")
    assert again.started == []
    assert work.published()
