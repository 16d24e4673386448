"""Data without labels is counted and cut as any. Who needs labels says so; what compares with a baseline needs none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cbuild_kit import arrays, is_unlabelled, require_labels, unlabelled
from cbuild_kit.predictions import Predictions
from cbuild_kit.scores import classified

from compressbuild.api import UserError


def test_rows_without_labels_are_rows(tmp_path: Path) -> None:
    batches = [(np.zeros((5, 2), np.float32), unlabelled(5)), (np.ones((3, 2), np.float32), unlabelled(3))]
    columns, labels = arrays(batches, ["x"])
    assert (len(columns["x"]), len(labels)) == (8, 8)
    assert is_unlabelled(labels)
    Predictions({"y": np.zeros((8, 3), np.float32)}, labels).write(tmp_path)
    again = Predictions.read(tmp_path)
    assert is_unlabelled(again.labels)
    with pytest.raises(UserError, match="a metric of classes needs labels, and the dataset has none"):
        classified(again, None, -100)


def test_some_batches_with_labels_are_a_mistake() -> None:
    batches = [(np.zeros((5, 2)), unlabelled(5)), (np.zeros((5, 2)), np.zeros(5, np.int64))]
    with pytest.raises(UserError, match="labels of batch 1 of the dataset"):
        arrays(batches, ["x"])


@pytest.mark.parametrize("labels", [np.zeros(3), np.zeros((3, 1)), np.zeros((3, 2, 4))])
def test_labels_are_labels(labels: np.ndarray) -> None:
    assert not is_unlabelled(labels)
    require_labels(labels, "this")
