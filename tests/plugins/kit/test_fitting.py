"""Sizes of the axes that nobody named: those that the model takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from cbuild_kit import fitting

from compressbuild.api import ModelInput

PICTURE = ModelInput("image", ("batch", 3, "height", "width"), "float32")
FIXED = ModelInput("image", ("batch", 3, 8, 8), "float32")


class Multiples:
    """A model that takes sides that are multiples of a number."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.tried: list[tuple[int, ...]] = []

    def __call__(self, feeds: Mapping[str, Any]) -> None:
        shape = feeds["image"].shape
        self.tried.append(shape)
        if any(side % self.step for side in shape[2:]):
            raise ValueError(f"no multiple of {self.step}: {shape[2]}")


@pytest.mark.parametrize(("step", "side"), [(1, 16), (32, 64), (224, 224)])
def test_the_first_size_that_is_taken(step: int, side: int) -> None:
    run = Multiples(step)
    found = fitting([PICTURE], {}, run, batch=2, seed=1)
    assert found.axes == {"height": side, "width": side}
    assert found.feeds["image"].shape == (2, 3, side, side) == run.tried[-1]


def test_a_size_that_is_given_stays() -> None:
    run = Multiples(32)
    assert fitting([PICTURE], {"width": 96}, run).axes == {"height": 64, "width": 96}
    with pytest.raises(ValueError, match="no multiple of 32: 16"):
        fitting([PICTURE], {"width": 33}, run)


def test_what_the_model_said_first_is_raised() -> None:
    run = Multiples(100)
    with pytest.raises(ValueError, match="no multiple of 100: 16"):
        fitting([PICTURE], {}, run)
    assert [shape[2] for shape in run.tried] == [16, 64, 224]


def test_nothing_runs_where_every_size_is_known() -> None:
    run = Multiples(32)
    assert fitting([FIXED], {}, run).feeds["image"].shape == (1, 3, 8, 8)
    assert fitting([PICTURE], {"height": 1, "width": 2}, run).axes == {"height": 1, "width": 2}
    assert run.tried == []
