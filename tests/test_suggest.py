from __future__ import annotations

import pytest

from compressbuild.suggest import closest, did_you_mean


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("modle", "model"),
        ("prune.chanels", "prune.channels"),
        ("PRUNE.CHANNELS", "prune.channels"),
        ("batch_size", "batch-size"),
        ("zzz", None),
        ("", None),
    ],
)
def test_closest(word: str, expected: str | None) -> None:
    assert closest(word, ["model", "prune.channels", "prune.magnitude", "batch-size"]) == expected


def test_no_options() -> None:
    assert closest("x", []) is None
    assert did_you_mean("x", []) is None


def test_the_answer_does_not_depend_on_the_order_of_the_options() -> None:
    assert closest("aab", ["aac", "aad"]) == closest("aab", ["aad", "aac"])


def test_sentence() -> None:
    assert did_you_mean("modle", ["model"]) == "did you mean 'model'?"
