"""Limits for each class, and the warnings of a real build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from toyproject import Toy, one_collapsed

from compressbuild.compressfile.spec import GateSpec
from compressbuild.errors import Mark
from compressbuild.evaluate.gates import judge_gate
from compressbuild.graph import GatePlan, MetricPlan
from compressbuild.report.text.table import summary

MARK = Mark("Compressfile", 1, 1)
OWN, OTHER = (MetricPlan("top1", "", "higher", node) for node in (1, 2))
CLASSES = {"cat": {"n": 10, "correct": 9}, "dog": {"n": 10, "correct": 6}, "owl": {"value": 0.8}}
BEFORE = {"cat": {"value": 0.9}, "dog": {"value": 0.7}, "owl": {"value": 0.99}, "newt": {"value": 1.0}}


def judge(own: dict[str, Any], **limits: Any) -> Any:
    results = {1: own, 2: {"value": 0.9, "per_class": BEFORE}}
    gate = GatePlan(GateSpec("top1", MARK, **limits), OWN, OTHER if "against" in limits else None)
    return judge_gate(gate, lambda plan: results[plan.node or 0])[0]


@pytest.mark.parametrize(("bound", "verdict"), [(0.55, "pass"), (0.6, "pass"), (0.61, "fail")])
def test_min_class_is_about_the_worst(bound: float, verdict: str) -> None:
    found = judge({"value": 0.77, "per_class": CLASSES}, min_class=bound)
    assert (found.verdict, found.value, found.reason) == (verdict, 0.6, "class dog")
    assert found.margin == pytest.approx(0.6 - bound)


@pytest.mark.parametrize(("bound", "verdict"), [(0.2, "pass"), (0.1, "fail")])
def test_max_class_drop_is_about_the_one_that_fell_most(bound: float, verdict: str) -> None:
    found = judge({"value": 0.77, "per_class": CLASSES}, max_class_drop=bound, against="big")
    assert (found.verdict, found.reason, found.against) == (verdict, "class owl", "big")
    assert found.value == pytest.approx(0.19)


def test_a_slice_is_called_so() -> None:
    own = {
        "value": 0.9,
        "rows": "slice",
        "per_class": {"day": {"n": 90, "correct": 88}, "night": {"n": 10, "correct": 2}},
    }
    found = judge(own, min_class=0.5)
    assert (found.verdict, found.value, found.reason) == ("fail", 0.2, "slice night")


def test_without_values_for_each_class_it_fails() -> None:
    found = judge({"value": 0.99}, min_class=0.5)
    assert (found.verdict, found.ok) == ("fail", False)
    assert "no value for each class" in found.reason


def test_a_class_without_a_value_fails() -> None:
    found = judge({"value": 0.99, "per_class": {"a": {"value": 1.0}, "b": {"n": 0}}}, min_class=0.5)
    assert (found.verdict, found.ok) == ("fail", False)


def test_a_collapse_is_said_by_the_build_and_by_what_it_publishes(tmp_path: Path) -> None:
    toy = one_collapsed(tmp_path)
    report, _ = toy.build()
    again, ran = toy.build()
    (target,) = report.targets
    assert target.status == "published"
    message = "shares collapsed in class 1 (0.97 → 0.50) against good, while the mean is 0.7375"
    assert [w.message for w in target.warnings] == [message]
    assert f"warning: t: {message}" in summary(again, again=True)
    assert ran == []
    published = msgspec.json.decode((toy.root / "build/t/metrics.json").read_bytes())
    assert published["warnings"] == [{"kind": "class-collapsed", "message": message, "classes": ["1"], "rows": "class"}]
    assert [getattr(e, "warnings", None) for e in toy.events if getattr(e, "target", "") == "t"][-1] == [message]


def test_what_a_step_doubts_is_said_wherever_its_target_is(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    toy.write("a.txt", "a")
    said = "only 3% are left"
    doubting = f"toy.copy: {{fail: doubt, note: {said}}}"
    toy.write(
        "Compressfile",
        "version: 1\nmodels: {a: {file: a.txt}}\ntargets:\n"
        f"  first: {{from: a, steps: [{{{doubting}}}]}}\n"
        "  later: {from: first, steps: [{toy.copy: {note: more}}]}\n"
        "  other: {from: a, steps: [{toy.copy: {note: other}}]}\n",
    )
    toy.build()
    report, ran = toy.build()
    assert ran == [], "a result from the cache is doubted as well"
    said = f"toy.copy: {said}"
    found = {target.name: [(w.kind, w.message) for w in target.warnings] for target in report.targets}
    assert found == {"first": [("doubtful-step", said)], "later": [("doubtful-step", said)], "other": []}
    assert f"warning: later: {said}" in summary(report, again=True)
    published = msgspec.json.decode((toy.root / "build/later/metrics.json").read_bytes())
    assert [warning["kind"] for warning in published["warnings"]] == ["doubtful-step"]
    assert [getattr(e, "warnings", None) for e in toy.events if getattr(e, "target", "") == "later"][-1] == [said]
