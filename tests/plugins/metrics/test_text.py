"""BLEU and chrF against sacrebleu's own corpus functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
from cbuild_kit.predictions import Predictions
from cbuild_metrics.quality.params.text import Text
from cbuild_metrics.quality.text import bleu, chrf

from compressbuild.api import UserError
from compressbuild.api.testing import make_context

WORDS = ["the", "a", "cat", "dog", "house", "sits", "runs", "under", "over", "near", "blue", "red", "big", "and", "."]


def decode(numbers: np.ndarray) -> str:
    return " ".join(WORDS[n] for n in numbers)


def nothing(numbers: np.ndarray) -> None:
    return None


def measured(function: Any, outputs: np.ndarray, labels: np.ndarray, place: Path, by: str = "decode") -> dict[str, Any]:
    place.mkdir()
    Predictions({"tokens": outputs}, labels).write(place)
    found: dict[str, Any] = function(make_context(place / "ctx"), place, Text(decode=f"test_text:{by}"))
    return found


@pytest.mark.parametrize("scored", [False, True])
def test_they_are_sacrebleus(scored: bool, rng: np.random.Generator, tmp_path: Path) -> None:
    labels = rng.integers(0, len(WORDS), (40, 12))
    answers = np.where(rng.random(labels.shape) < 0.3, rng.integers(0, len(WORDS), labels.shape), labels)
    said, wanted = [decode(row) for row in answers], [decode(row[:9]) for row in labels]
    labels[:, 9:] = -100
    outputs = np.eye(len(WORDS), dtype=np.float32)[answers] if scored else answers
    expected = sacrebleu.corpus_bleu(said, [wanted]).score, sacrebleu.corpus_chrf(said, [wanted]).score
    found = [measured(f, outputs, labels, tmp_path / f.__name__) for f in (bleu, chrf)]
    assert [f["value"] for f in found] == pytest.approx(expected)
    assert 20 < found[0]["value"] < 90
    assert "version:" in found[0]["signature"]
    assert found[0]["n"] == 40


def test_what_is_no_text(tmp_path: Path) -> None:
    tokens = np.zeros((2, 3), int)
    with pytest.raises(UserError, match=r"float64 \[2, 3\] and labels of int64 \[2\] are not text"):
        measured(bleu, np.zeros((2, 3)), np.zeros(2, int), tmp_path / "a")
    with pytest.raises(UserError, match="test_text:nothing returned a NoneType"):
        measured(chrf, tokens, tokens, tmp_path / "b", "nothing")
