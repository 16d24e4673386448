from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from cbuild_kit.predictions import Predictions
from cbuild_metrics.quality.accuracy import top1, top_k
from cbuild_metrics.quality.params.accuracy import Accuracy
from sklearn.metrics import accuracy_score, recall_score, top_k_accuracy_score

from compressbuild.api import UserError
from compressbuild.api.testing import make_context


def predictions(rng: np.random.Generator, n: int = 500, classes: int = 10, dtype: str = "float32") -> Predictions:
    labels = rng.integers(0, classes, n)
    scores = rng.standard_normal((n, classes)).astype(dtype)
    scores[np.arange(n), labels] += 1.5
    return Predictions({"logits": scores}, labels)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_agrees_with_scikit_learn(k: int, dtype: str, rng: np.random.Generator) -> None:
    found = predictions(rng, dtype=dtype)
    scores, labels = found.outputs["logits"].astype(np.float64), found.labels
    result = top_k(found, Accuracy(), k)
    expected = (
        accuracy_score(labels, scores.argmax(1))
        if k == 1
        else top_k_accuracy_score(labels, scores, k=k, labels=range(10))
    )
    if dtype == "float32":  # half precision has equal scores, which the library orders otherwise
        assert result["value"] == pytest.approx(expected)
    assert result["value"] == result["correct"] / result["n"]
    assert result["n"] == 500
    assert 0.2 < result["value"] < 1


def test_per_class_is_the_recall(rng: np.random.Generator) -> None:
    found = predictions(rng)
    result = top_k(found, Accuracy(), 1)
    recall = recall_score(found.labels, found.outputs["logits"].argmax(1), average=None)
    shares = [row["correct"] / row["n"] for row in result["per_class"].values()]
    assert list(result["per_class"]) == [str(label) for label in range(10)]
    assert shares == pytest.approx(recall.tolist())
    assert sum(row["n"] for row in result["per_class"].values()) == 500


def test_hits_say_which_samples_are_right(rng: np.random.Generator) -> None:
    found = predictions(rng, n=21)
    result = top_k(found, Accuracy(), 1)
    bits = np.unpackbits(np.frombuffer(base64.b64decode(result["hits"]), np.uint8))[:21].astype(bool)
    np.testing.assert_array_equal(bits, found.outputs["logits"].argmax(1) == found.labels)


def test_equal_scores_go_to_the_first_class_as_argmax_has_it() -> None:
    scores = np.zeros((3, 4), np.float32)
    result = top_k(Predictions({"y": scores}, np.array([0, 1, 3])), Accuracy(), 1)
    assert result["correct"] == 1
    assert top_k(Predictions({"y": scores}, np.array([0, 1, 3])), Accuracy(), 2)["correct"] == 2


def test_nan_is_wrong_and_counted() -> None:
    scores = np.array([[np.nan, 0], [1, 0]], np.float32)
    result = top_k(Predictions({"y": scores}, np.array([0, 0])), Accuracy(), 1)
    assert (result["value"], result["not_a_number"]) == (0.5, 1)


def test_fewer_classes_than_five(rng: np.random.Generator) -> None:
    result = top_k(predictions(rng, classes=3), Accuracy(), 5)
    assert (result["value"], result["k"]) == (1.0, 3)


def test_token_labels_with_padding() -> None:
    scores = np.eye(4, dtype=np.float32)[[[0, 1, 2], [3, 0, 0]]]
    labels = np.array([[0, 1, 3], [3, -100, -100]])
    result = top_k(Predictions({"y": scores}, labels), Accuracy(), 1)
    assert (result["n"], result["correct"]) == (4, 3)


def test_logits_are_chosen_and_another_output_may_be() -> None:
    outputs = {"features": np.zeros((2, 5), np.float32), "logits": np.eye(2, dtype=np.float32)}
    found = Predictions(outputs, np.array([0, 1]))
    assert top_k(found, Accuracy(), 1)["value"] == 1.0
    assert top_k(found, Accuracy(output="features"), 1)["value"] == 0.5
    with pytest.raises(UserError, match="has no output 'scores'") as caught:
        top_k(found, Accuracy(output="scores"), 1)
    assert caught.value.hint == "it has: features, logits"


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (np.zeros((2, 3), np.float32), np.zeros(2), "the labels are float64, not class numbers"),
        (np.zeros((2, 3), np.float32), np.zeros((2, 3), int), r"float32 \[2, 3\] does not fit labels \[2, 3\]"),
        (np.zeros((2, 3), np.int64), np.zeros(2, int), r"int64 \[2, 3\] does not fit"),
        (np.zeros((2, 1), np.float32), np.zeros(2, int), "one score per sample"),
        (np.zeros((2, 3), np.float32), np.array([0, 3]), "a label is 3, but the model has classes 0 … 2"),
        (np.zeros((2, 3), np.float32), np.array([-1, 0]), "a label is -1"),
        (np.zeros((2, 3), np.float32), np.array([-100, -100]), "every label is -100"),
    ],
)
def test_what_cannot_be_compared(scores: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        top_k(Predictions({"y": scores}, labels), Accuracy(), 1)


def test_the_metric_reads_an_artifact_and_gives_plain_json(rng: np.random.Generator, tmp_path: Path) -> None:
    found = predictions(rng)
    (tmp_path / "p").mkdir()
    found.write(tmp_path / "p")
    result = top1(make_context(tmp_path / "out"), tmp_path / "p", Accuracy())
    assert result == top_k(found, Accuracy(), 1) == json.loads(json.dumps(result))


def test_outputs_that_are_left_out_are_named() -> None:
    labels = np.array([0, 1])
    scores, other = np.eye(2, dtype=np.float32), np.zeros((2, 3), np.float32)
    found = Predictions({"boxes": other, "logits": scores, "mask": other}, labels)
    result = top_k(found, Accuracy(), 1)
    assert (result["output"], result["left_out"]) == ("logits", ["boxes", "mask"])
    assert "left_out" not in top_k(found, Accuracy(output="logits"), 1)
    assert "left_out" not in top_k(Predictions({"logits": scores}, labels), Accuracy(), 1)
