from __future__ import annotations

import pytest

from compressbuild.words import did_you_mean


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
def test_did_you_mean(word: str, expected: str | None) -> None:
    assert did_you_mean(word, ["model", "prune.channels", "prune.magnitude", "batch-size"]) == expected


def test_no_options() -> None:
    assert did_you_mean("x", []) is None


def test_the_answer_does_not_depend_on_the_order_of_the_options() -> None:
    assert did_you_mean("aab", ["aac", "aad"]) == did_you_mean("aab", ["aad", "aac"])
