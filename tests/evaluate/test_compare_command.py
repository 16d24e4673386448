"""``cbuild compare`` on toy targets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import Inline, Work

TEXT = """\
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length, wait], baseline: one}
targets:
  one: {from: f, steps: [{toy.mix: {salt: 1}}]}
  two: {from: f, steps: [{toy.copy: {note: x}}]}
  never: {from: f, steps: [{toy.mix: {salt: 9}}]}
"""


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Inline(tmp_path / "p", toy=True)
    made.write("f.txt", "abc")
    made.write("Compressfile", TEXT)
    assert made("one", "two").code == 0
    return made


def test_two_targets(work: Work) -> None:
    ran = work("compare", "one", "two")
    assert ran.code == 0, ran.text
    assert ran.out.startswith("two against one: ")
    assert [line.split() for line in ran.out.splitlines() if line.startswith("length")] == [
        ["length", "1", "B", "3", "B", "×3", "worse"]
    ]
    assert "not compared: quality: no metric of both says which samples it gets right" in ran.out


def test_json(work: Work) -> None:
    found = json.loads(work("compare", "one", "two", "--json").out)
    assert found["first"] == "one"
    assert {r["metric"]: r["better"] for r in found["rows"]}["length"] is False


def test_html(work: Work) -> None:
    assert work("compare", "one", "two", "--format", "html").out.startswith("wrote compare.html (")
    text = (work.root / "compare.html").read_text()
    assert "<title>one and two" in text
    assert '"verdict":"two against one: ' in text
    assert work("compare", "one", "two", "--format", "html", "-o", "-").out.startswith("<!doctype html>")
    assert "cannot write no/c.html" in work("compare", "one", "two", "-o", "no/c.html", code=2).err


def test_html_of_two_logs(work: Work) -> None:
    for name, right in (("a", "true"), ("b", "false")):
        work.write(f"{name}.jsonl", "".join(f'{{"id": {i}, "correct": {right}, "latency": 2}}\n' for i in range(30)))
    ran = work("compare", "--from-logs", "a.jsonl", "b.jsonl", "--format", "html", "-o", "logs.html")
    assert ran.out.startswith("wrote logs.html (")
    assert '"verdict":"b.jsonl against a.jsonl: worse' in (work.root / "logs.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("one",), "name two targets"),
        (("one", "one"), "cannot be compared with itself"),
        (("one", "tow"), "did you mean 'two'?"),
        (("one", "never"), "'never' has not been built and measured"),
        (("one", "two", "--from-logs", "a", "b"), "targets cannot be named as well"),
    ],
)
def test_usage(words: tuple[str, ...], said: str, work: Work) -> None:
    ran = work("compare", *words, code=2)
    assert said in ran.err


def test_what_would_be_built_again_is_compared_as_published(work: Work) -> None:
    work.write("f.txt", "abcdef")
    ran = work("compare", "one", "two")
    assert ran.code == 0, ran.text
    assert "not compared: two as it is now: the values are those it was published with ('cbuild why two')" in ran.out


def test_comparing_publishes_nothing(work: Work) -> None:
    before = {p: p.stat().st_mtime_ns for p in (work.root / "build").rglob("*")}
    assert work("compare", "one", "two").code == 0
    assert {p: p.stat().st_mtime_ns for p in (work.root / "build").rglob("*")} == before
    assert work("all", "-n").out.count("run ") == work("never", "-n").out.count("run ")
