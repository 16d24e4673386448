"""Warnings without gates, against the exact tests of scipy."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from compressbuild.evaluate.concerns import _sigmas, class_value, collapsed_classes, smaller_not_faster


def accuracy(**correct: int) -> dict[str, Any]:
    """Classes of 40 samples each."""
    rows = {name: {"n": 40, "correct": count} for name, count in correct.items()}
    n, hits = 40 * len(rows), sum(correct.values())
    return {"value": hits / n, "n": n, "correct": hits, "per_class": rows}


def test_a_planted_collapse_is_named() -> None:
    base = accuracy(a=39, b=38, c=40, d=37)
    own = accuracy(a=39, b=38, c=20, d=36)
    found = collapsed_classes("top1", own, base, "big")
    assert found is not None
    assert found.classes == ("c",)
    assert found.message == ("top1 collapsed in class c (1.00 → 0.50) against big, while the mean is 0.8313")


@pytest.mark.parametrize("own", [{"a": 39, "b": 38}, {"a": 36, "b": 35}, {"a": 40, "b": 33}])
def test_what_chance_explains_is_not(own: dict[str, int]) -> None:
    assert collapsed_classes("top1", accuracy(**own), accuracy(a=39, b=38), "big") is None


def test_without_a_baseline_a_class_is_seen_beside_the_others() -> None:
    found = collapsed_classes("top1", accuracy(a=39, b=38, c=39, d=12), None, None)
    assert found is not None
    assert found.classes == ("d",)
    assert "against the other classes" in found.message
    assert collapsed_classes("top1", accuracy(a=39, b=38, c=39, d=30), None, None) is None


def test_rows_are_enough_and_some_may_say_nothing() -> None:
    """A plugin's metric gives no totals, and a class without samples has no value."""
    more = {"e": {"value": None}, "f": {"n": None, "correct": 3}, "g": {}}
    rows = accuracy(a=39, b=38, c=39, d=12)["per_class"] | more
    found = collapsed_classes("mine", {"value": 0.8, "per_class": rows}, None, None)
    assert found is not None
    assert found.classes == ("d",)
    assert collapsed_classes("mine", {"value": 0.8, "per_class": rows}, {"value": 0.8, "per_class": rows}, "b") is None
    assert math.isnan(class_value({"value": None}))


def test_a_few_samples_prove_nothing() -> None:
    rows = {"a": {"n": 300, "correct": 297}, "b": {"n": 5, "correct": 0}}
    own = {"value": 297 / 305, "n": 305, "correct": 297, "per_class": rows}
    base = {**own, "per_class": {**rows, "b": {"n": 5, "correct": 5}}}
    assert collapsed_classes("top1", own, base, "big") is None


def test_equal_models_are_seldom_accused() -> None:
    rng = random.Random(3)

    def draw() -> dict[str, Any]:
        return accuracy(**{str(c): sum(rng.random() < 0.85 for _ in range(40)) for c in range(10)})

    assert sum(collapsed_classes("top1", draw(), draw(), "b") is not None for _ in range(300)) <= 6


def test_the_statistic_is_that_of_two_proportions() -> None:
    # (90 of 100) against (70 of 80): by hand
    pooled = 160 / 180
    expected = (0.9 - 0.875) / (pooled * (1 - pooled) * (1 / 100 + 1 / 80)) ** 0.5
    assert _sigmas({"n": 100, "correct": 90}, {"n": 80, "correct": 70}) == pytest.approx(expected)
    assert _sigmas({"n": 10, "correct": 10}, {"n": 10, "correct": 10}) == 0


@pytest.mark.parametrize(
    ("size", "interval", "said"),
    [
        (40, (0.5, 0.6), None),
        (40, (0.9, 1.02), "not faster"),
        (40, (1.2, 1.4), "slower"),
        (99, (1.2, 1.4), None),
        (200, (1.2, 1.4), None),
    ],
)
def test_smaller_but_not_faster(size: int, interval: tuple[float, float], said: str | None) -> None:
    latency = {"value": 3.0, "ratio": sum(interval) / 2, "ratio_low": interval[0], "ratio_high": interval[1]}
    found = smaller_not_faster("latency", latency, size, 100, "cpu-fp32")
    assert (found is None) == (said is None)
    if found is not None:
        assert f"smaller but {said} than cpu-fp32: ×0.40 of the size" in found.message


def test_without_a_ratio_or_a_size_there_is_nothing_to_say() -> None:
    assert smaller_not_faster("latency", {"value": 3.0}, 10, 100, "b") is None
    assert (
        smaller_not_faster("latency", {"value": 3.0, "ratio": 1.2, "ratio_low": 1.1, "ratio_high": 1.3}, 10, None, "b")
        is None
    )


def test_rows_that_are_no_classes_are_called_what_they_are() -> None:
    base = accuracy(day=39, night=38, dusk=40)
    own = {**accuracy(day=39, night=15, dusk=39), "rows": "slice"}
    found = collapsed_classes("slices", own, base, "big")
    assert found is not None
    assert found.message.startswith("slices collapsed in slice night (0.95 → 0.38) against big")
    alone = collapsed_classes("slices", own, None, None)
    assert alone is not None
    assert "against the other slices" in alone.message
