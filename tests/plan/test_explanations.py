"""What a plan says: hit, run or may run, and why."""

from __future__ import annotations

import pytest

from compressbuild.errors import CompressfileError
from compressbuild.plan import say

TEXT = """version: 1
vars: {salt: 1}
models:
  m: {file: f.txt}
targets:
  a: {from: m, steps: [toy.mix: {salt: "${vars.salt}", modulus: 1000}]}
  b: {from: a, steps: [toy.mix: {salt: 5}]}
"""


@pytest.fixture
def project(toy):
    toy.write("Compressfile", TEXT)
    return toy


def actions(toy, overrides=(), targets=("b",)):
    opened = toy.open(overrides)
    try:
        return {a.node.position: a for a in opened.plan(targets).actions.values()}
    finally:
        opened.close()


def test_first_build(project) -> None:
    found = actions(project)
    assert {p: (a.status, a.why.reason) for p, a in found.items()} == {
        "m/source": ("run", "first build"),
        "a/toy.mix": ("may run", "depends"),
        "b/toy.mix": ("may run", "depends"),
    }
    assert found["b/toy.mix"].why.depends == ("a/toy.mix",)


def test_cached_after_a_build(project) -> None:
    project.build("all")
    assert {a.status for a in actions(project).values()} == {"cached"}


def test_a_changed_parameter_is_named_old_to_new(project) -> None:
    project.build("all")
    found = actions(project, ["vars.salt=2"])
    assert found["m/source"].status == "cached"
    assert found["a/toy.mix"].why.reason == "changed"
    assert [say(c) for c in found["a/toy.mix"].why.changes] == ["parameter salt: 1 → 2"]
    assert found["b/toy.mix"].status == "may run"


def test_a_changed_file_is_named(project) -> None:
    project.build("all")
    project.write("f.txt", "abd")
    changes = actions(project)["m/source"].why.changes
    assert [(c.part, c.name) for c in changes] == [("files", "f.txt")]
    assert changes[0].old != changes[0].new


def test_a_result_gone_from_the_cache_is_said_so(project) -> None:
    project.build("all")
    opened = project.open()
    trace = opened.traces.get("b/toy.mix")
    opened.store.ac.remove(trace.key)
    opened.close()
    assert actions(project)["b/toy.mix"].why.reason == "lost"
    assert project.build("all")[1] == ["b/toy.mix"]


def test_a_missing_file_is_reported_before_anything_runs(project) -> None:
    (project.root / "f.txt").unlink()
    with pytest.raises(CompressfileError) as caught:
        actions(project)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == "there is no file 'f.txt'"
    assert diagnostic.mark.line == 4
    with pytest.raises(CompressfileError):
        project.build("all")
    assert not (project.root / "build").exists()
