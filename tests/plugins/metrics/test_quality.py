"""Each metric of predictions against scikit-learn, scipy or a computation by hand, on random data."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cbuild_kit.predictions import Predictions
from cbuild_metrics.answers.predict import run_over
from cbuild_metrics.quality import agreement as agree
from cbuild_metrics.quality.confusion import confusion, scores
from cbuild_metrics.quality.params.accuracy import Perplexity
from cbuild_metrics.quality.params.averaged import Averaged
from cbuild_metrics.quality.params.output import Output
from cbuild_metrics.quality.params.user import UserFunction
from cbuild_metrics.quality.perplexity import perplexity
from cbuild_metrics.quality.regression import mse, pearson, snr, spearman
from cbuild_metrics.quality.user import user
from scipy.special import log_softmax
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    mean_absolute_error,
    mean_squared_error,
    precision_score,
    recall_score,
)

from compressbuild.api import ModelInput, UserError, WorkInput
from compressbuild.api.testing import make_context

Measure = Callable[..., dict[str, Any]]
PEERS = {"precision": precision_score, "recall": recall_score, "f1": f1_score}


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Run a metric on arrays; ``baseline``: another model's output on the same samples."""

    def run(function: Any, output: np.ndarray, labels: np.ndarray, params: Any, baseline: Any = None) -> Any:
        inputs = {}
        for role, array in (("subject", output), ("baseline", baseline)):
            if array is not None:
                place = tmp_path / f"{role}-{len(list(tmp_path.iterdir()))}"
                place.mkdir()
                Predictions({"y": array}, labels).write(place)
                inputs[role] = WorkInput(path=str(place), kind="predictions")
        ctx = make_context(tmp_path / f"out-{len(list(tmp_path.iterdir()))}", inputs=inputs)
        return function(ctx, Path(inputs["subject"].path), params)

    return run


def classification(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Seven classes of which one never occurs and another is never answered."""
    labels = rng.choice([0, 1, 2, 3, 4, 5], 400, p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05])
    logits = rng.standard_normal((400, 7))
    logits[np.arange(400), labels] += 1.2
    logits[:, 5] = -99
    return logits, labels


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("which", ["precision", "recall", "f1"])
def test_precision_recall_f1(which: str, average: Any, rng: np.random.Generator) -> None:
    logits, labels = classification(rng)
    found = scores(Predictions({"logits": logits}, labels), Averaged(average=average), which)
    peer, answers = PEERS[which], logits.argmax(1)
    assert found["value"] == pytest.approx(peer(labels, answers, average=average, zero_division=0))
    assert found["average"] == average
    each = peer(labels, answers, average=None, labels=range(7), zero_division=0)
    assert {int(k): v["value"] for k, v in found["per_class"].items()} == pytest.approx(
        {k: each[k] for k in sorted({*labels, *answers})}
    )
    assert found["per_class"]["0"]["n"] == (labels == 0).sum()


def test_confusion_matrix(rng: np.random.Generator) -> None:
    logits, labels = classification(rng)
    np.testing.assert_array_equal(
        confusion(logits, labels), confusion_matrix(labels, logits.argmax(1), labels=range(7))
    )
    logits[3] = math.nan
    assert confusion(logits, labels).sum() == 399


def test_micro_recall_is_the_accuracy_and_a_nan_is_wrong(rng: np.random.Generator) -> None:
    logits, labels = classification(rng)
    logits[:40, 0] = math.nan
    found = scores(Predictions({"logits": logits}, labels), Averaged(average="micro"), "recall")
    answers = np.where(np.isnan(logits).any(1), -1, logits.argmax(1))
    assert found["value"] == pytest.approx(accuracy_score(labels, answers))


def test_mse(measure: Measure, rng: np.random.Generator) -> None:
    wanted, found = rng.standard_normal((2, 300, 4)).astype(np.float32)
    result = measure(mse, found, wanted, Output())
    assert result["value"] == pytest.approx(mean_squared_error(wanted.ravel(), found.ravel()))
    assert result["rmse"] == pytest.approx(math.sqrt(result["value"]))
    assert result["mae"] == pytest.approx(mean_absolute_error(wanted.ravel(), found.ravel()))


def test_snr(measure: Measure, rng: np.random.Generator) -> None:
    wanted = rng.standard_normal((300, 4))
    assert measure(snr, wanted + 0.01 * wanted, wanted, Output())["value"] == pytest.approx(40.0)
    noise = rng.standard_normal((300, 4))
    expected = 20 * np.log10(np.linalg.norm(wanted) / np.linalg.norm(noise))
    assert measure(snr, wanted + noise, wanted, Output())["value"] == pytest.approx(expected)
    assert measure(snr, wanted, wanted, Output())["value"] == 300


@pytest.mark.parametrize(("function", "peer"), [(pearson, pearsonr), (spearman, spearmanr)])
def test_correlation(function: Any, peer: Any, measure: Measure, rng: np.random.Generator) -> None:
    wanted = rng.integers(0, 6, 300)  # with ties
    found = np.exp(wanted + rng.standard_normal(300))[:, None]
    assert measure(function, found, wanted, Output())["value"] == pytest.approx(peer(found[:, 0], wanted).statistic)
    assert math.isnan(measure(function, np.ones((300, 1)), wanted, Output())["value"])


def test_outputs_that_do_not_fit_the_labels(measure: Measure, rng: np.random.Generator) -> None:
    with pytest.raises(UserError, match=r"an output \[5, 3\] does not fit labels \[5\]"):
        measure(mse, rng.standard_normal((5, 3)), np.arange(5), Output())


def test_perplexity(measure: Measure, rng: np.random.Generator) -> None:
    tokens = rng.integers(0, 11, (20, 9))
    tokens[:, -2:] = -100
    logits = 30 * rng.standard_normal((20, 9, 11)).astype(np.float32) + 1000  # overflows unless shifted
    kept = tokens != -100
    likelihood = np.take_along_axis(log_softmax(logits.astype(float), -1), np.where(kept, tokens, 0)[..., None], -1)
    result = measure(perplexity, logits, tokens, Perplexity())
    assert result["nll"] == pytest.approx(-likelihood[..., 0][kept].mean())
    assert result["value"] == pytest.approx(math.exp(result["nll"]))
    assert result["n"] == 140
    assert measure(perplexity, np.zeros((6, 8)), np.arange(6), Perplexity())["value"] == pytest.approx(8)


def test_perplexity_of_tokens_that_are_their_own_labels(tmp_path: Path, rng: np.random.Generator) -> None:
    tokens = rng.integers(0, 11, (4, 9))
    logits = rng.standard_normal((4, 9, 11)).astype(np.float32)
    place = tmp_path / "predictions"
    place.mkdir()
    Predictions({"logits": logits}, tokens, "input_ids").write(place)
    with pytest.raises(UserError, match="the labels are a copy of the input 'input_ids'") as caught:
        perplexity(SimpleNamespace(), place, Perplexity())
    assert "shift: true" in (caught.value.hint or "")
    likelihood = np.take_along_axis(log_softmax(logits[:, :-1].astype(float), -1), tokens[:, 1:, None], -1)
    result = perplexity(SimpleNamespace(), place, Perplexity(shift=True))
    assert result["nll"] == pytest.approx(-likelihood.mean())
    assert result["n"] == 4 * 8


@pytest.mark.parametrize(("left_out", "copied"), [(False, "ids"), (True, "ids"), (None, None)])
def test_labels_that_copy_an_input_are_noticed(
    left_out: bool | None, copied: str | None, rng: np.random.Generator
) -> None:
    ids = rng.integers(0, 11, (4, 9))
    labels = np.roll(ids, -1, axis=1) if left_out is None else ids.copy()
    if left_out:
        labels[:, :3] = -100
    runner = SimpleNamespace(inputs=(ModelInput("ids", ("batch", "tokens"), "int64"),))
    answer = Answering(runner.inputs)
    context = SimpleNamespace(progress=lambda *at: None)
    assert run_over(context, answer, [({"ids": ids}, labels)], 2).labels_of == copied


class Answering:
    def __init__(self, inputs: Any) -> None:
        self.inputs = inputs

    def __call__(self, feeds: Any) -> dict[str, np.ndarray]:
        return {"logits": np.zeros((*feeds["ids"].shape, 11), np.float32)}


def test_agreement_with_the_baseline(measure: Measure, rng: np.random.Generator) -> None:
    base = rng.standard_normal((200, 5)).astype(np.float32)
    own = base + 0.5 * rng.standard_normal((200, 5)).astype(np.float32)
    labels = np.zeros(200, int)
    both = {"params": Output(), "baseline": base}
    result = measure(agree.agreement, own, labels, **both)
    assert result["value"] == pytest.approx(accuracy_score(base.argmax(1), own.argmax(1)))
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(own, base, strict=True)]
    result = measure(agree.cosine, own, labels, **both)
    assert result["value"] == pytest.approx(np.mean(cosines), rel=1e-5)
    assert result["least"] == pytest.approx(min(cosines), rel=1e-5)
    expected = 20 * np.log10(np.linalg.norm(base) / np.linalg.norm(own - base))
    assert measure(agree.sqnr, own, labels, **both)["value"] == pytest.approx(expected, rel=1e-5)
    result = measure(agree.max_abs, own, labels, **both)
    assert result["value"] == pytest.approx(np.abs(own - base).max())
    assert result["baseline_range"] == pytest.approx(np.ptp(base))


def test_a_model_agrees_with_itself_and_zero_with_nothing(measure: Measure, rng: np.random.Generator) -> None:
    base = rng.standard_normal((20, 5))
    base[0] = 0
    labels = np.zeros(20, int)
    itself = {name: measure(getattr(agree, name), base, labels, Output(), base)["value"] for name in agree.__all__}
    assert itself == {"agreement": 1, "cosine": pytest.approx(1), "sqnr": 300, "max_abs": 0}
    assert measure(agree.cosine, np.zeros((20, 5)), labels, Output(), base)["value"] == pytest.approx(1 / 20)


def test_only_the_same_samples_are_compared(measure: Measure, rng: np.random.Generator) -> None:
    with pytest.raises(UserError, match="differ in shape"):
        measure(agree.sqnr, rng.standard_normal((4, 5)), np.arange(4), Output(), rng.standard_normal((4, 6)))


def recall_of_three(outputs: dict[str, np.ndarray], labels: np.ndarray, scale: float = 1.0) -> dict[str, Any]:
    hits = outputs["y"].argmax(1) == labels
    return {"value": scale * hits[labels == 3].mean(), "per_class": {"3": {"n": np.int64((labels == 3).sum())}}}


@pytest.mark.parametrize("returned", [None, "high", {"values": 3}])
def test_a_users_function(returned: Any, measure: Measure, rng: np.random.Generator, monkeypatch: Any) -> None:
    logits, labels = classification(rng)
    params = UserFunction(function=f"{__name__}:recall_of_three", args={"scale": 2.0})
    result = measure(user, logits, labels, params)
    assert result["value"] == pytest.approx(2 * recall_score(labels, logits.argmax(1), labels=[3], average="macro"))
    assert result["per_class"] == {"3": {"n": int((labels == 3).sum())}}
    assert type(result["value"]) is float
    monkeypatch.setitem(__import__("sys").modules, "theirs", SimpleNamespace(f=lambda outputs, labels: returned))
    with pytest.raises(UserError, match=r"theirs:f returned .*, not a number"):
        measure(user, logits, labels, UserFunction(function="theirs:f"))
