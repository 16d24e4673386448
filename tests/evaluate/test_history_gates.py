"""Gates against what a target was published with before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from command import Inline, Work
from msgspec.structs import replace
from toyproject import Toy

from compressbuild.compressfile.spec import GateSpec
from compressbuild.errors import CompressfileError, Mark
from compressbuild.evaluate.gates import Verdict, judge_gate
from compressbuild.evaluate.history import Entry, earlier
from compressbuild.graph import GatePlan, MetricPlan


def judge(own: dict[str, Any], entries: list[Entry], direction: str = "lower", **limits: Any) -> Verdict:
    spec = GateSpec("m", Mark("Compressfile", 1, 1), against="history", **limits)
    plan = GatePlan(spec, MetricPlan("m", "", direction, 1))
    (found,) = judge_gate(plan, lambda _: own, entries, "base")
    return found


def entry(day: int, baseline: str | None = None, **result: Any) -> Entry:
    return Entry.of("t", 86400.0 * day, f"a{day}", {}, {"m": result}, (), baseline)


def timed(value: float, ratio: float, width: float = 0.02) -> dict[str, float]:
    return {"value": value, "ratio": ratio, "ratio_low": ratio * (1 - width), "ratio_high": ratio * (1 + width)}


def test_the_last_and_the_best():
    entries = [entry(1, value=0.97), entry(2, value=0.93)]
    last = judge({"value": 0.92}, entries, "higher", max_drop=0.02)
    assert (last.verdict, last.value, last.against) == ("pass", pytest.approx(0.01), "history")
    assert last.reason == "the last was published 1970-01-03"
    best = judge({"value": 0.92}, entries, "higher", max_drop=0.02, record="best")
    assert (best.verdict, best.value) == ("fail", pytest.approx(0.05))
    assert best.reason == "the best was published 1970-01-02"
    smallest = judge({"value": 120.0}, [entry(1, value=100.0), entry(2, value=150.0)], max_ratio=1.1, record="best")
    assert (smallest.verdict, smallest.value) == ("fail", pytest.approx(1.2))


def test_without_history_the_gate_is_held():
    for limits in ({"max_drop": 0.0}, {"max_ratio": 0.1}):
        found = judge({"value": 5.0}, [], **limits)
        assert (found.verdict, found.ok, found.reason, found.value) == ("pass", True, "no history yet", None)
    assert judge({"value": 5.0}, [entry(1, value=float("nan"))], max_ratio=0.1).reason == "no history yet"


def test_latency_is_compared_through_the_baseline_of_its_day():
    """The machine was twice as slow that day, which its baseline felt as well."""
    slow_day = [entry(1, "base", **timed(2.0, 0.5))]
    found = judge(timed(1.2, 0.6), slow_day, max_ratio=1.1)
    assert (found.verdict, found.value) == ("fail", pytest.approx(1.2))
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1.2 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.2 * 0.02 * 2**0.5, rel=0.05)
    assert judge(timed(1.0, 0.51), slow_day, max_ratio=1.01).verdict == "inconclusive"
    assert judge(timed(1.2, 0.6), slow_day, max_ratio=1.3).verdict == "pass"


def test_another_baseline_leaves_the_values():
    found = judge(timed(3.0, 0.5), [entry(1, "other", **timed(2.0, 0.5))], max_ratio=2.0)
    assert (found.verdict, found.value, found.low) == ("pass", pytest.approx(1.5), None)
    own = {"value": 3.0, "low": 2.8, "high": 3.2}
    interval = judge(own, [entry(1, value=2.0)], max_ratio=1.5)
    assert (interval.verdict, interval.low, interval.high) == ("inconclusive", pytest.approx(1.4), pytest.approx(1.6))


def test_the_result_itself_is_not_its_own_past():
    entries = [entry(1, value=1.0), entry(2, value=2.0), entry(2, value=2.0)]
    assert earlier(entries, "a2", {"m": {"value": 2.0}}) == entries[:1]
    assert earlier(entries, "a2", {"m": {"value": 2.5}}) == entries  # measured anew
    assert earlier(entries, "a3", {"m": {"value": 2.0}}) == entries


TEXT = """\
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length]}
targets:
  t:
    from: f
    steps: [toy.copy]
    gates: {length: {max-ratio: 1.2, against: history}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Work:
    work = Inline(tmp_path / "project", toy=True)
    work.write("f.txt", "12345")
    work.write("Compressfile", TEXT)
    return work


def gate(work: Work) -> dict[str, Any]:
    return json.loads((work.root / "build" / "t" / "metrics.json").read_text())["gates"][0]


def test_from_build_to_build(project: Work) -> None:
    project("t")
    assert (gate(project)["verdict"], gate(project)["reason"]) == ("pass", "no history yet")
    project.write("f.txt", "123456")
    project("t")
    assert (gate(project)["value"], gate(project)["verdict"]) == (1.2, "pass")
    before = (project.root / ".cbuild" / "history" / "t.jsonl").read_text()
    again = project("t", "-v")  # '-v': past the check that nothing changed
    assert "1 of 1 targets up to date" in again.out
    assert gate(project)["value"] == 1.2  # not 1: it is not compared with itself
    assert (project.root / ".cbuild" / "history" / "t.jsonl").read_text() == before
    project.write("f.txt", "12345678")
    missed = project("t", code=3)
    row = next(line for line in missed.out.splitlines() if line.startswith("t       length: max-ratio 1.2 of history"))
    assert " ".join(row.split()).startswith(
        "t length: max-ratio 1.2 of history 1.333 0.133 fail the last was published 20"
    )
    assert not (project.root / "build" / "t").exists()
    assert project("t", code=3).code == 3  # what failed is no history
    project.write("f.txt", "1234567")
    project("t")
    assert gate(project)["value"] == pytest.approx(7 / 6)


def test_history_is_in_no_key(project: Work) -> None:
    project("t")
    project.write("f.txt", "1234567")
    project("t", code=3)
    project.edit("Compressfile", "max-ratio: 1.2", "max-ratio: 1.5")
    assert "nothing to do" in project("t").out  # judged anew, from the cache


def test_the_best_needs_a_direction(toy: Toy) -> None:
    toy.write("Compressfile", TEXT.replace("against: history", "against: history, record: best"))
    assert toy.open().graph.targets["t"].gates[0].spec.record == "best"
    project = toy.open()
    undirected = msgspec.structs.replace(project.registry.metrics["length"], direction="none")
    project.__dict__["registry"] = replace(project.registry, metrics={"length": undirected})
    with pytest.raises(CompressfileError, match="'length' asks for the best"):
        _ = project.graph
