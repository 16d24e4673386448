"""Verdicts of gates: at the limit, at either side of it, in doubt, and unmeasured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from compressbuild.compressfile.spec import GateSpec
from compressbuild.errors import Mark
from compressbuild.evaluate.gates import Verdict, judge_gate
from compressbuild.graph import GatePlan, MetricPlan

MARK = Mark("Compressfile", 1, 1)


def judge(own: Mapping[str, Any] | None, other: Mapping[str, Any] | None = None, **limits: Any) -> list[Verdict]:
    against = MetricPlan("m", "", "lower", 2, reason="other") if "against" in limits else None
    plan = GatePlan(GateSpec("m", MARK, **limits), MetricPlan("m", "", "lower", 1, reason="own"), against)
    return judge_gate(plan, lambda metric: own if metric.node == 1 else other)


def one(*args: Any, **limits: Any) -> Verdict:
    (verdict,) = judge(*args, **limits)
    return verdict


@pytest.mark.parametrize(
    ("limits", "own", "other", "verdict", "margin"),
    [
        ({"min": 0.9}, 0.95, None, "pass", 0.05),
        ({"min": 0.9}, 0.9, None, "pass", 0.0),
        ({"min": 0.9}, 0.85, None, "fail", -0.05),
        ({"max": 10}, 8, None, "pass", 2),
        ({"max": 10}, 10, None, "pass", 0),
        ({"max": 10}, 11, None, "fail", -1),
        ({"max_drop": 0.01, "against": "a"}, 0.95, 0.955, "pass", 0.005),
        ({"max_drop": 0.01, "against": "a"}, 0.93, 0.955, "fail", -0.015),
        ({"max_drop": 0.0, "against": "a"}, 0.96, 0.955, "pass", 0.005),  # a rise is no drop
        ({"max_ratio": 0.5, "against": "a"}, 40, 100, "pass", 0.1),
        ({"max_ratio": 0.5, "against": "a"}, 60, 100, "fail", -0.1),
        ({"min_ratio": 2, "against": "a"}, 250, 100, "pass", 0.5),
        ({"min_ratio": 2, "against": "a"}, 150, 100, "fail", -0.5),
    ],
)
def test_limits(limits: dict, own: float, other: float | None, verdict: str, margin: float):
    found = one({"value": own}, None if other is None else {"value": other}, **limits)
    assert (found.verdict, found.ok) == (verdict, verdict == "pass")
    assert found.margin == pytest.approx(margin)
    assert found.limit == next(iter(limits)).replace("_", "-")
    assert found.against == limits.get("against")


@pytest.mark.parametrize(
    ("limits", "low", "high", "verdict"),
    [
        ({"max_ratio": 0.9}, 0.7, 0.85, "pass"),
        ({"max_ratio": 0.9}, 0.7, 0.9, "pass"),
        ({"max_ratio": 0.9}, 0.85, 0.95, "inconclusive"),
        ({"max_ratio": 0.9}, 0.91, 0.95, "fail"),
        ({"min_ratio": 1.1}, 1.2, 1.4, "pass"),
        ({"min_ratio": 1.1}, 1.0, 1.2, "inconclusive"),
        ({"min_ratio": 1.1}, 0.9, 1.0, "fail"),
    ],
)
def test_a_measured_ratio_is_judged_by_its_interval(limits: dict, low: float, high: float, verdict: str):
    own = {"value": 1.0, "ratio": (low + high) / 2, "ratio_low": low, "ratio_high": high}
    found = one(own, {"value": 1000.0}, against="a", **limits)  # paired: the other value does not count
    assert (found.verdict, found.ok) == (verdict, verdict == "pass")
    assert (found.low, found.high) == (low, high)
    if verdict == "inconclusive":
        assert "straddles the limit" in found.reason
        assert one(own, {"value": 1.0}, against="a", inconclusive="allow", **limits).ok


def test_several_limits_are_several_verdicts():
    found = judge({"value": 5.0}, min=1.0, max=4.0)
    assert [(v.limit, v.verdict) for v in found] == [("min", "pass"), ("max", "fail")]


@pytest.mark.parametrize(("own", "other", "reason"), [(None, {"value": 1}, "own"), ({"value": 1}, None, "other")])
def test_unmeasured(own: dict | None, other: dict | None, reason: str):
    found = one(own, other, max_ratio=2.0, against="a")
    assert (found.verdict, found.ok, found.reason) == ("unmeasured", False, reason)
    assert one(own, other, max_ratio=2.0, against="a", unmeasured="allow").ok


def test_an_absolute_limit_needs_no_other():
    assert one({"value": 1}, None, max=2.0, against="a").ok


@pytest.mark.parametrize("value", [math.nan, "nan"])
def test_not_a_number_never_passes(value: object):
    for limits in ({"min": 0.0}, {"max": 1e9}, {"max_drop": 1e9, "against": "a"}):
        found = one({"value": value}, {"value": 1.0}, **limits)
        assert (found.verdict, found.ok) == ("fail", False)
    assert not one({"value": 1.0}, {"value": 0.0}, max_ratio=9.0, against="a").ok  # a ratio to nothing


@pytest.mark.parametrize(("high", "verdict"), [(1.05, "pass"), (1.15, "inconclusive")])
def test_an_absolute_limit_is_judged_by_the_values_own_interval(high: float, verdict: str):
    assert one({"value": 1.0, "low": 0.95, "high": high}, max=1.1).verdict == verdict


def test_a_busy_machine_is_named_where_nothing_could_be_decided():
    own = {"value": 1.0, "ratio": 0.9, "ratio_low": 0.7, "ratio_high": 1.1, "noisy": True}
    doubtful = one(own, {"value": 1.0}, max_ratio=0.95, against="a")
    assert (doubtful.verdict, doubtful.ok) == ("inconclusive", False)
    assert doubtful.reason.endswith("the machine was busy: measure again ('cbuild --remeasure')")
    assert one(own, {"value": 1.0}, max_ratio=1.2, against="a").verdict == "pass"  # the interval decides all the same
