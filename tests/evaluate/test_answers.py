"""What both answered to samples that flipped, from predictions in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbuild_kit.predictions import Predictions

from compressbuild.evaluate.answers import Flip, flips
from compressbuild.evaluate.compare import Comparison, compare_quality
from compressbuild.report.text.comparison import comparison_lines
from compressbuild.store import Store

LABELS = np.array([3, 1, 0, 2])


def kept(store: Store, place: Path, outputs: dict[str, Any], labels: Any = LABELS) -> Any:
    place.mkdir()
    Predictions(outputs, labels).write(place)
    return store.cas.put_tree(place).digest


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(tmp_path / "cache", sync=False) as made:
        yield made


def scores(*answers: int, dtype: Any = np.float32) -> Any:
    found = np.random.default_rng(0).uniform(size=(len(answers), 5)).astype(dtype)
    found[np.arange(len(answers)), answers] = 7
    return found


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int64])
def test_the_likeliest_classes(dtype: Any, store: Store, tmp_path: Path) -> None:
    a = kept(store, tmp_path / "a", {"other": scores(0, 0, 0, 0), "logits": scores(3, 1, 4, 2, dtype=dtype)})
    b = kept(store, tmp_path / "b", {"other": scores(0, 0, 0, 0), "logits": scores(3, 2, 0, 2, dtype=dtype)})
    assert flips(store, a, b, (1, 2), 4, None) == (
        Flip(sample=1, label=1, first=1, second=2),
        Flip(sample=2, label=0, first=4, second=0),
    )
    assert flips(store, a, b, (1,), 4, "other") == (Flip(sample=1, label=1, first=0, second=0),)


def test_what_is_not_one_class_a_sample_is_left_alone(store: Store, tmp_path: Path) -> None:
    a = kept(store, tmp_path / "a", {"y": scores(3, 1, 4, 2)})
    sequence = kept(store, tmp_path / "s", {"y": np.zeros((4, 2, 5), np.float32)})
    text = kept(store, tmp_path / "t", {"y": np.array([["x"]] * 4)})
    turned = kept(store, tmp_path / "f", {"y": np.asfortranarray(scores(3, 1, 4, 2))})
    assert flips(store, a, sequence, (1,), 4, None) == ()
    assert flips(store, a, text, (1,), 4, None) == ()
    assert flips(store, a, a, (1,), 3, None) == (), "labels that do not count"
    assert flips(store, a, turned, (1,), 4, None) in ((), (Flip(sample=1, label=1, first=1, second=1),))


def test_they_are_said_beside_the_sample() -> None:
    quality = compare_quality("top1", [True, True, False], [True, False, True])
    found = Comparison(
        first="a", second="b", quality=quality,
        flipped=(Flip(sample=1, label=1, first=1, second=2), Flip(sample=2, label=0, first=4, second=0)),
    )  # fmt: skip
    lines = list(comparison_lines(found))
    assert "  now wrong: 1 (1 → 2)" in lines
    assert "  now right: 2 (4 → 0)" in lines
