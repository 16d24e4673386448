"""What a node leaves that is no artifact is that node's failure: nothing is moved away, and the others are built."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from toy import LEAVES

FILE = """\
version: 1
models: {m: {file: f.txt}}
targets:
  bad: {from: m, steps: [toy.copy: {fail: WHAT}]}
  good: {from: m, steps: [toy.copy: {note: x}, toy.copy: {note: y}]}
"""


@pytest.mark.parametrize("what", LEAVES)
def test_it_fails_its_node_alone(toy, what: str) -> None:
    if what == "device" and os.geteuid() != 0:
        pytest.skip("only root makes devices")
    toy.write("Compressfile", FILE.replace("WHAT", what))
    report, _ = toy.build("all", keep_going=True)
    assert {target.name: target.status for target in report.targets} == {"bad": "failed", "good": "published"}
    assert toy.value("good") == "abc"
    failed = next(event for event in toy.events if getattr(event, "cause", None))
    assert (failed.cause, failed.node) == ("raised", "bad/toy.copy")
    assert not list((toy.cache / "tmp").iterdir())
    assert (toy.root / "f.txt").read_text() == "abc"


def test_files_behind_a_link_stay_where_they_are(toy, tmp_path_factory: pytest.TempPathFactory, monkeypatch) -> None:
    precious: Path = tmp_path_factory.mktemp("precious")
    (precious / "thesis.txt").write_text("years of work")
    monkeypatch.setitem(LEAVES, "replace", lambda out, model: (out.rmdir(), out.symlink_to(precious)))
    toy.write("Compressfile", FILE.replace("WHAT", "replace"))
    toy.build("all", keep_going=True)
    assert (precious / "thesis.txt").read_text() == "years of work"
    assert (precious / "thesis.txt").stat().st_mode & 0o200, "nor are they made read-only"
