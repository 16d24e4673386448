"""``cbuild report`` on toy targets: the data, Markdown, and one file of HTML."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command import Inline, Work

from compressbuild.report.text.markdown import markdown

TEXT = """\
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length, wait], baseline: one}
targets:
  one: {from: f, steps: [{toy.mix: {salt: 1}}]}
  two: {from: f, steps: [{toy.copy: {note: "</script><b>"}}], gates: {length: {max: 9}}}
  bad: {from: f, steps: [{toy.copy: {note: y}}], gates: {length: {max: 2}}}
  never: {from: f, steps: [{toy.mix: {salt: 9}}]}
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    made = Inline(tmp_path_factory.mktemp("report") / "p", toy=True)
    made.write("f.txt", "abc")
    made.write("Compressfile", TEXT)
    made("one", "two", "bad", "-k", code=3)
    return made


def test_the_data(work: Work) -> None:
    found = json.loads(work("report", "--format", "json").out)
    targets = {t["name"]: t for t in found["targets"]}
    assert {name: t["state"] for name, t in targets.items()} == {
        "one": "published",
        "two": "published",
        "bad": "gate failed",
        "never": "not built",
    }
    assert targets["two"]["metrics"]["length"]["value"] == 3
    assert targets["bad"]["metrics"]["length"]["value"] == 3, "what missed its gate is shown with what was measured"
    assert [g["verdict"] for g in targets["bad"]["gates"]] == ["fail"]
    assert [s["node"] for s in targets["two"]["steps"]] == ["f/source", "two/toy.copy"]
    assert targets["two"]["steps"][1]["params"]["note"] == "</script><b>"
    assert targets["two"]["steps"][1]["seconds"] is not None
    assert [s["name"] for s in targets["two"]["provenance"]["subjects"]] == ["metrics.json", "value"]
    assert len(targets["two"]["history"]) == 1
    assert found["metrics"]["length"] == {
        "unit": "B", "direction": "lower", "summary": "", "role": "detail", "priority": 0, "apart": False,
    }  # fmt: skip
    assert found["choices"] == [], "no metric says how good these are"


def test_it_names_the_commit_and_the_machine(work: Work, tmp_path: Path) -> None:
    def said(made: Work) -> dict[str, Any]:
        return json.loads(made("report", "two", "--format", "json").out)

    made = work.copy(tmp_path / "p")
    assert said(made)["machine"].keys() >= {"cores", "memory", "system"}
    assert said(made)["commit"] is None, "it is in no repository"
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "f.txt", "Compressfile"], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(made.root), *words], check=True)
    head = subprocess.run(
        ["git", "-C", str(made.root), "rev-parse", "HEAD"], capture_output=True, check=True, text=True
    )
    assert said(made)["commit"] == {"id": head.stdout.strip(), "changed": 0}
    made.write("f.txt", "other")
    assert said(made)["commit"]["changed"] == 1
    page = made("report", "two", "-o", "r.html")
    assert page.code == 0
    assert head.stdout.strip() in (made.root / "r.html").read_text()


def test_what_is_not_known_of_an_artifact_is_left_out(work: Work) -> None:
    found = json.loads(work("report", "two", "never", "--format", "json").out)
    assert [(t["interface"], t["loading"]) for t in found["targets"]] == [(None, ""), (None, "")]


def test_some_targets_only(work: Work) -> None:
    found = json.loads(work("report", "two", "--format", "json").out)
    assert [t["name"] for t in found["targets"]] == ["two"]


def test_it_builds_nothing(work: Work) -> None:
    before = {p: p.stat().st_mtime_ns for p in (work.root / "build").rglob("*")}
    work("report", "--format", "json")
    assert {p: p.stat().st_mtime_ns for p in (work.root / "build").rglob("*")} == before


def test_html(work: Work) -> None:
    ran = work("report", "-o", "r.html")
    assert ran.out.startswith("wrote r.html (")
    text = (work.root / "r.html").read_text()
    head, _, rest = text.partition('<script type="application/json" id="data">')
    data = json.loads(rest.partition("</script>")[0])
    assert [t["name"] for t in data["targets"]] == ["one", "two", "bad", "never"]
    assert data["targets"][1]["steps"][1]["params"]["note"] == "</script><b>"
    assert "</script><b>" not in text
    assert head.count("<svg") == 1
    assert " s</text>" in head, "the graph says how long nodes took"
    assert "cannot write" in work("report", "-o", "no/such/r.html", code=2).err


def test_markdown(work: Work) -> None:
    lines = work("report", "--format", "md").out.splitlines()
    assert lines[0] == "### compressbuild: p"
    assert "| two | – | ✅ 1 | published |" in lines
    assert "| bad | – | ❌ 1 missed | gate failed |" in lines
    assert "- ❌ **bad**: length max 2, got 3: fail" in lines


def test_markdown_of_what_to_ship() -> None:
    metrics = {"top1": {"value": 0.97}, "latency": {"value": 2.0, "ratio": 0.5}}
    warned = [{"kind": "class-collapsed", "message": "top1 collapsed in class a|b", "classes": ["a|b"]}]
    row = {
        "name": "int_8",
        "platform": "cpu",
        "metrics": metrics,
        "gates": [],
        "state": "published",
        "warnings": warned,
    }
    units = {
        "top1": {"unit": "", "role": "quality", "priority": 100},
        "latency": {"unit": "ms", "role": "cost", "priority": 100},
    }
    choice = {"name": "int_8", "platform": "cpu", "reasons": ["good", "fast"], "rivals": {}, "remarks": []}
    said = markdown({"project": "p", "targets": [row], "metrics": units, "quality": "top1", "choices": [choice]})
    assert "Ship **int\\_8**: good; fast." in said
    aged = markdown(
        {
            "project": "p",
            "targets": [row | {"state": "out of date"}],
            "metrics": units,
            "quality": "top1",
            "choices": [choice],
        }
    )
    assert "Ship **int\\_8** (out of date): good; fast." in aged
    assert "| int\\_8 ★ | cpu | 0.97 | 2 ms (×0.50) | – | published |" in said
    assert "collapsed in class a\\|b" in said
