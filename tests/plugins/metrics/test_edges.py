"""Inputs that hardly occur: what they are, and what counts as the baseline's behaviour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbuild_kit.predictions import Predictions
from cbuild_metrics.robustness.edges import edge_cases, edge_inputs, predict_edges
from cbuild_metrics.robustness.params.edges import Edges, PredictEdges
from fake_runner import FakeRunner

from compressbuild.api import UserError, WorkInput
from compressbuild.api.testing import make_context

ALL = ("zeros", "least", "greatest", "lowest", "highest", "nan", "infinite")


def test_the_cases() -> None:
    sample = {"x": np.full((1, 2), 0.5, np.float32), "ids": np.full((1, 3), 7)}
    made = {case: edge_inputs(case, sample, {"x": -1.0, "ids": 2}, {"x": 3.0, "ids": 9}) for case in ALL}
    assert [made[case]["x"][0, 0] for case in ("zeros", "least", "greatest")] == [0, -1, 3]
    assert [made[case]["ids"][0, 0] for case in ("zeros", "least", "greatest", "highest", "nan")] == [0, 2, 9, 7, 7]
    assert made["lowest"]["x"][0, 0] == np.finfo(np.float32).min
    assert np.isnan(made["nan"]["x"]).all()
    assert np.isposinf(made["infinite"]["x"]).all()
    pixels = {"x": np.zeros((1, 2), np.uint8)}
    assert edge_inputs("highest", pixels, {"x": 3}, {"x": 9})["x"].max() == 255
    assert edge_inputs("nan", pixels, {"x": 3}, {"x": 9}) == {}
    assert edge_inputs("lowest", {"ids": sample["ids"]}, {"ids": 2}, {"ids": 9}) == {}


def predicted(fake: Callable[..., Any], place: Path, function: Callable[..., Any], cases: Any = ALL) -> Path:
    data = [(np.array([[0.0, 1], [-2, 3]], np.float32), np.zeros(2, int))]
    ctx = fake(data=data, subject=FakeRunner(lambda x: {"y": function(x)}, x=(("batch", 2), "float32")))
    place.mkdir()
    ctx.out = place
    predict_edges(ctx, place, PredictEdges(data="d", cases=cases))
    return place


def compared(own: Path, base: Path, place: Path, **params: Any) -> dict[str, Any]:
    inputs = {"baseline": WorkInput(path=str(base), kind="predictions")}
    found = edge_cases(make_context(place, subject=own, inputs=inputs), own, Edges(**params))
    assert found["value"] == np.mean([row["value"] for row in found["per_class"].values()])
    return found


def test_a_clamping_model_differs_where_numbers_end(fake: Callable[..., Any], tmp_path: Path) -> None:
    base = predicted(fake, tmp_path / "base", lambda x: x * 1.5 + 1)
    same = predicted(fake, tmp_path / "same", lambda x: x * 1.52 + 1)
    clamped = predicted(fake, tmp_path / "int8", lambda x: np.nan_to_num(np.clip(x, -4, 4)) * 1.5 + 1)
    assert compared(same, base, tmp_path / "a")["value"] == 1
    assert compared(same, base, tmp_path / "b", tolerance=0.001)["value"] < 1
    rows = compared(clamped, base, tmp_path / "c")["per_class"]
    assert {case: row["value"] for case, row in rows.items()} == {
        "zeros": 1, "least": 1, "greatest": 1, "lowest": 0, "highest": 0, "nan": 0, "infinite": 0
    }  # fmt: skip
    assert (rows["nan"]["finite"], rows["nan"]["baseline_finite"]) == (True, False)
    assert rows["greatest"]["finite"]
    kept = Predictions.read(base)
    np.testing.assert_allclose(kept.outputs["y"][:3], np.array([[0, 0], [-2, -2], [3, 3]]) * 1.5 + 1)


def test_a_refusal_is_an_answer_too(fake: Callable[..., Any], tmp_path: Path) -> None:
    def strict(x: np.ndarray) -> np.ndarray:
        if not np.isfinite(x).all():
            raise RuntimeError("no")
        return x

    cases = ("zeros", "nan", "infinite")
    base = predicted(fake, tmp_path / "base", lambda x: x, cases)
    own = predicted(fake, tmp_path / "own", strict, cases)
    rows = compared(own, base, tmp_path / "a")["per_class"]
    assert {case: row["value"] for case, row in rows.items()} == {"zeros": 1, "nan": 0, "infinite": 0}
    assert rows["nan"]["refused"]
    assert not rows["nan"]["finite"]
    assert compared(own, own, tmp_path / "b")["value"] == 1
    with pytest.raises(UserError, match="fails on every case: nan"):
        predicted(fake, tmp_path / "none", strict, ("nan",))
