"""Out-of-distribution scores against scikit-learn and scipy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbuild_kit.predictions import Predictions
from cbuild_metrics.robustness.outside import auroc, energy, msp, outside, predict_outside
from cbuild_metrics.robustness.params.outside import Outside, OutsideScores
from fake_runner import FakeRunner
from scipy.special import logsumexp, softmax
from sklearn.metrics import roc_auc_score, roc_curve

from compressbuild.api import UserError
from compressbuild.api.testing import make_context


def measured(scores: np.ndarray, labels: np.ndarray, place: Path, **params: Any) -> dict[str, Any]:
    place.mkdir()
    Predictions({"logits": scores}, labels).write(place)
    return outside(make_context(place / "ctx"), place, OutsideScores(outside="other", **params))


@pytest.mark.parametrize("score", ["msp", "energy"])
def test_auroc_is_scikit_learns(score: str, rng: np.random.Generator, tmp_path: Path) -> None:
    labels = rng.integers(0, 2, 400)
    logits = rng.standard_normal((400, 7)) * (1 + 2 * labels[:, None])
    logits[100:200] = logits[:100]  # equal scores, on both sides
    found = measured(logits.astype(np.float32), labels, tmp_path / "p", score=score)
    logits = logits.astype(np.float32).astype(np.float64)
    wanted = {"msp": softmax(logits, axis=1).max(axis=1), "energy": logsumexp(logits, axis=1)}
    np.testing.assert_allclose(msp(logits), wanted["msp"])
    np.testing.assert_allclose(energy(logits), wanted["energy"])
    assert found["value"] == pytest.approx(roc_auc_score(labels, wanted[score]))
    assert {n: row["value"] for n, row in found["per_class"].items()} == pytest.approx(
        {name: roc_auc_score(labels, values) for name, values in wanted.items()}
    )
    false, true, _ = roc_curve(labels, wanted[score], drop_intermediate=False)
    assert found["fpr95"] == pytest.approx(false[np.argmax(true >= 0.95)], abs=0.01)
    assert (found["inside"], found["outside"]) == (labels.sum(), 400 - labels.sum())


def test_equal_scores_are_chance() -> None:
    assert auroc(np.zeros(10), np.arange(10) < 4) == 0.5


def test_a_nan_counts_against_the_model(tmp_path: Path) -> None:
    logits = np.array([[9.0, 0], [9, 0], [0, 0], [0, 0]])
    assert measured(logits, np.array([1, 1, 0, 0]), tmp_path / "a")["value"] == 1
    for row in (0, 3):
        broken = logits.copy()
        broken[row, 0] = np.nan
        assert measured(broken, np.array([1, 1, 0, 0]), tmp_path / f"b{row}")["value"] == 0.5


def test_what_has_no_score(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"float64 N×\[3, 4\] has no score for each class"):
        measured(np.zeros((2, 3, 4)), np.array([0, 1]), tmp_path / "p")


def test_both_datasets_are_run(fake: Callable[..., Any], tmp_path: Path, rng: np.random.Generator) -> None:
    own, other = rng.random((30, 3)).astype(np.float32), rng.random((12, 3)).astype(np.float32)
    ctx = fake(subject=FakeRunner(lambda x: {"y": x}, x=(("batch", 3), "float32")))
    sets = {"test": [(own, np.zeros(30, int))], "svhn": [(other, np.zeros((12, 2)))]}
    ctx.__class__ = type("Two", (type(ctx),), {"dataset": lambda self, name=None: sets[name]})
    facts = predict_outside(ctx, tmp_path, Outside(data="test", outside="svhn", batch=8))
    assert (facts["inside"], facts["outside"]) == (30, 12)
    kept = Predictions.read(ctx.out)
    np.testing.assert_array_equal(kept.outputs["y"], np.concatenate([own, other]))
    np.testing.assert_array_equal(kept.labels, [1] * 30 + [0] * 12)
