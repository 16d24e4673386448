"""The Python API as a script uses it, and what its results show."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from command import TOY_PATH

import compressbuild
from compressbuild.errors import CbuildError
from compressbuild.execute.events import NodeFinished
from compressbuild.execute.local import LocalExecutor
from compressbuild.notebook.html import scatter, table
from compressbuild.notebook.progress import watching
from compressbuild.store.locks import SharedExclusive

TEXT = """\
version: 1
vars: {salt: 1}
models: {f: {file: f.txt}}
evaluate: {metrics: [shares, length, wait], baseline: first}
targets:
  first: {from: f, steps: [{toy.mix: {salt: "${vars.salt}"}}], tags: [small], description: "a <b>"}
  second: {from: first, steps: [toy.copy], gates: {length: {max: 9}}}
  missed: {from: f, steps: [toy.copy], gates: {length: {max: 2}}}
groups: {both: [first, second]}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "f.txt").write_text("abc")
    (tmp_path / "Compressfile").write_text(TEXT)
    monkeypatch.setenv("PYTHONPATH", TOY_PATH)
    for place in TOY_PATH.split(os.pathsep):
        monkeypatch.syspath_prepend(place)
    return tmp_path / "Compressfile"


def test_a_build_and_what_is_asked_before_and_after(file: Path, capsys: pytest.CaptureFixture[str]):
    targets = compressbuild.load(file)
    assert list(targets) == ["first", "second", "missed"]
    assert (targets["first"].steps, targets["first"].tags) == (("toy.mix",), ("small",))
    assert not targets["first"].published
    assert "a &lt;b&gt;" in targets._repr_html_()
    assert targets.groups == {"both": ("first", "second")}
    planned = compressbuild.plan(file, "both")
    assert (planned.count("run"), planned.count("cached"), len(planned)) == (1, 0, 9)
    assert "never built here" in planned._repr_html_()

    report = compressbuild.build(file, ["both"])
    assert capsys.readouterr() == ("", "")
    assert report.ok
    assert [target.status for target in report] == ["published", "published"]
    assert report.metrics["second"]["length"] == 1.0
    assert (report.path("second") / "value").read_text() == (file.parent / "build" / "first" / "value").read_text()
    shown = report._repr_html_()
    assert "<svg" in shown
    assert "<td>second</td>" in shown
    assert "2 of 2 targets up to date" in repr(report)
    with pytest.raises(KeyError, match="did you mean 'second'"):
        report["secnd"]

    assert compressbuild.plan(file, ["first", "second"]).count("cached") == 9
    reasons = compressbuild.why(file, "second", set={"vars.salt": 3})
    assert next(step.why for step in reasons if step.status == "run") == ("parameter salt: 1 → 3",)
    assert "parameter salt: 1 → 3" in repr(reasons)
    found = compressbuild.compare(file, "first", "second")
    assert found.verdict.startswith("second against first: ")
    assert "<td>length</td>" in found._repr_html_()
    assert found.verdict in repr(found)


def test_a_missed_gate_is_in_the_report(file: Path, capsys: pytest.CaptureFixture[str]):
    report = compressbuild.build(file, "missed", progress=True)
    assert (report.ok, report.exit_code) == (False, 3)
    assert "built     missed/toy.copy" in capsys.readouterr().err
    with pytest.raises(KeyError, match="not published: gate failed"):
        report.path("missed")


def test_what_can_be_built_beside_a_failure_is_built_if_asked(file: Path):
    file.write_text(
        "version: 1\nmodels: {f: {file: f.txt}}\ntargets:\n"
        "  bad: {from: f, steps: [{toy.copy: {fail: raise}}, toy.copy, toy.copy]}\n"
        "  good: {from: f, steps: [toy.copy]}\n"
    )
    stopped = compressbuild.build(file, jobs=1)
    assert [target.status for target in stopped] != ["failed", "published"]
    report = compressbuild.build(file, jobs=1, keep_going=True)
    assert [target.status for target in report] == ["failed", "published"]


def test_an_interrupted_call_leaves_nothing_locked(file: Path, monkeypatch: pytest.MonkeyPatch):
    """The kernel lives on, and keeps the frames of the last error."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalExecutor, "wait", interrupted)
        with pytest.raises(CbuildError, match="interrupted") as caught:
            compressbuild.build(file, "both")
    lock = SharedExclusive(str(file.parent / "cache" / "locks" / "users")).try_exclusive()
    assert lock is not None
    lock.release()
    assert caught.tb is not None
    assert compressbuild.build(file, "both").ok


def test_progress_ends_with_the_build_and_shows_no_foreign_html(monkeypatch: pytest.MonkeyPatch):
    shown: list[str] = []
    handle = SimpleNamespace(update=shown.append)
    display = SimpleNamespace(display=lambda html, display_id: handle, HTML=str)
    kernel = SimpleNamespace(display=display, get_ipython=lambda: SimpleNamespace(kernel=True))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    before = threading.active_count()
    with watching(None) as (watcher,):
        watcher(NodeFinished(node="a/b", label="a/b", status="failed", cause="raised", error="<b>bold"))
    assert threading.active_count() == before
    assert shown[-1] == "<div>failed: a/b raised: &lt;b&gt;bold</div>"


def test_errors_are_raised_with_their_place(file: Path):
    with pytest.raises(CbuildError, match="unknown target 'secnd'") as caught:
        compressbuild.build(file, ["secnd"])
    assert caught.value.hint == "did you mean 'second'?"
    assert caught.value._render_traceback_() == ["error: unknown target 'secnd'", "  hint: did you mean 'second'?"]
    file.write_text(TEXT.replace("  second: {from", "  second: {form"))
    with pytest.raises(CbuildError) as caught:
        compressbuild.load(file)
    assert caught.value.diagnostics[0].mark is not None
    assert any("~~~~" in line or "^~" in line for line in caught.value._render_traceback_())


def test_rooms_that_are_functions_stay_rooms():
    """Whatever is imported first."""
    code = (
        "import compressbuild.build.run as run, compressbuild.plan.plan as plan, compressbuild\n"
        "from compressbuild import build as called\n"
        "assert callable(compressbuild.build) and callable(compressbuild.plan) and called is compressbuild.build\n"
        "assert run.build_targets and plan.make_plan and compressbuild.plan.make_plan\n"
        "import sys; print(sorted({'torch', 'numpy', 'onnx', 'IPython'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_plots_and_tables_are_sound():
    svg = scatter([("a & b", 1.0, 0.5), ("c", 1.0, 0.9), ("<d>", 3.0, 0.7)], "time <s>", "top1")
    root = ElementTree.fromstring(svg)
    circles = [each for each in root.iter() if each.tag.endswith("circle")]
    places = [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in circles]
    assert places[0][0] == places[1][0] < places[2][0]
    assert places[1][1] < places[2][1] < places[0][1]  # the y of a picture points down
    assert next(title.text for title in root.iter() if title.tag.endswith("title")) == "a & b: time <s> 1, top1 0.5"
    assert scatter([("a", 1.0, 1.0)], "x", "y") == ""
    ElementTree.fromstring(table(["<a>"], [["b & c"]], "d"))
