"""Slices that the user names, against scikit-learn slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cbuild_kit.predictions import Predictions
from cbuild_metrics.robustness.params.slices import PredictSliced, Slices
from cbuild_metrics.robustness.slices import SLICE, predict_sliced, slices
from fake_runner import FakeRunner
from sklearn.metrics import accuracy_score

from compressbuild.api import UserError
from compressbuild.api.testing import make_context

BY = "test_slices:by_sign"


def by_sign(inputs: Any, labels: np.ndarray) -> list[str]:
    array = inputs["x"] if isinstance(inputs, dict) else inputs
    return ["up" if row.sum() > 0 else "down" for row in array]


def too_few(inputs: Any, labels: np.ndarray) -> list[str]:
    return ["all"]


@pytest.mark.parametrize("column", [False, True])
def test_each_slice_is_scikit_learns(
    column: bool, fake: Callable[..., Any], tmp_path: Path, rng: np.random.Generator
) -> None:
    x, labels = rng.standard_normal((90, 4)).astype(np.float32), rng.integers(0, 4, 90)
    weather = np.array(["sun", "rain", "a longer name"])[rng.integers(0, 3, 90)]
    parts = [slice(0, 50), slice(50, 53), slice(53, 90)]
    data = [({"x": x[p], "weather": weather[p], "cam": np.arange(90)[p] % 2}, labels[p]) for p in parts]
    ctx = fake(data=data, subject=FakeRunner(lambda x: {"scores": x}, x=(("batch", 4), "float32")))
    how = {"column": "weather"} if column else {"by": BY}
    predict_sliced(ctx, tmp_path, PredictSliced(data="d", batch=16, **how))
    names = weather if column else np.array(by_sign(x, labels))
    np.testing.assert_array_equal(Predictions.read(ctx.out).outputs[SLICE], names)
    found = slices(make_context(tmp_path / "m"), ctx.out, Slices(**how))
    assert found["value"] == pytest.approx(accuracy_score(labels, x.argmax(1)))
    assert {name: row["correct"] / row["n"] for name, row in found["per_class"].items()} == pytest.approx(
        {name: accuracy_score(labels[names == name], x[names == name].argmax(1)) for name in set(names)}
    )
    assert found["rows"] == "slice"
    assert sum(row["n"] for row in found["per_class"].values()) == found["n"] == 90


def test_tokens_are_of_their_samples_slice(fake: Callable[..., Any], tmp_path: Path) -> None:
    scores = np.eye(3, dtype=np.float32)[[[0, 1], [2, 0], [1, 1]]]
    labels = np.array([[0, 1], [2, -100], [0, 1]])
    data = [({"x": scores, "lang": np.array([1, 2, 2])}, labels)]
    ctx = fake(data=data, subject=FakeRunner(lambda x: {"y": x}, x=(("batch", 2, 3), "float32")))
    predict_sliced(ctx, tmp_path, PredictSliced(data="d", column="lang"))
    found = slices(make_context(tmp_path / "m"), ctx.out, Slices(column="lang"))
    assert found["per_class"] == {"1": {"n": 2, "correct": 2}, "2": {"n": 3, "correct": 2}}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"column": "light"}, "batch 0 of the dataset has no column 'light'"),
        ({"by": "test_slices:too_few"}, r"gives an array \[1\] for the 2 samples of batch 0"),
    ],
)
def test_what_names_no_slices(params: Any, message: str, fake: Callable[..., Any], tmp_path: Path) -> None:
    data = [(np.zeros((2, 4), np.float32), np.zeros(2, int))]
    ctx = fake(data=data, subject=FakeRunner(lambda x: {"y": x}, x=(("batch", 4), "float32")))
    with pytest.raises(UserError, match=message):
        predict_sliced(ctx, tmp_path, PredictSliced(data="d", **params))


@pytest.mark.parametrize("params", [{}, {"by": BY, "column": "x"}])
def test_one_of_the_two_is_given(params: Any) -> None:
    with pytest.raises(msgspec.ValidationError, match="either `by`, a function, or `column`"):
        msgspec.convert(params, Slices)
