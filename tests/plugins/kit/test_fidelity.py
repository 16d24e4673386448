"""What quantizers are judged by: signal to noise against the float source, of each output and of its parts."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cbuild_kit.fidelity import check_fidelity

from compressbuild.api import UserError

CTX: Any = SimpleNamespace(log=logging.getLogger("test"))


def judged(source: Any, made: Any, *, joined: dict[str, int] | None = None, batches: int = 2) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((8, 16)).astype(np.float32)} for _ in range(batches)]
    return check_fidelity(
        CTX, lambda: source, lambda: made, feeds, what="the step", causes="the likely cause", joined=joined
    )


def plain(feeds: Any) -> dict[str, np.ndarray]:
    return {"y": feeds["x"]}


def with_noise(decibels: float) -> Any:
    """An answer whose noise is so far below the signal."""
    return lambda feeds: {"y": feeds["x"] * np.float32(1 + 10 ** (-decibels / 20))}


def test_the_ratio_is_measured() -> None:
    assert judged(plain, with_noise(30.0)) == {"sqnr_db": {"y": pytest.approx(30.0, abs=0.05)}}


def test_between_five_and_twenty_decibels_it_is_a_concern() -> None:
    facts = judged(plain, with_noise(12.0))
    assert facts["concern"] == "the signal of output 'y' is only 12.0 dB above the noise (20 is usual)"


def test_below_five_it_is_refused_and_the_cause_comes_first() -> None:
    with pytest.raises(
        UserError, match=r"the step damaged the model: the signal of output 'y' is only 4\.0 dB"
    ) as caught:
        judged(plain, with_noise(4.0))
    assert caught.value.hint == "the likely cause"


def boxes(feeds: Any, step: float = 0.0) -> dict[str, np.ndarray]:
    """Four boxes in pixels and twelve scores, rounded to ``step`` as a common scale does."""
    values = np.concatenate([300 + 100 * feeds["x"][:, :4], 1 / (1 + np.exp(-feeds["x"][:, 4:]))], axis=1)
    return {"y": np.round(values / step) * step if step else values}


def test_scores_that_a_common_scale_loses_are_found_though_the_ratio_is_high() -> None:
    with pytest.raises(UserError, match=r"part 4–15 of axis 1 of output 'y' is only -?\d\.\d dB"):
        judged(boxes, lambda feeds: boxes(feeds, 4.0), joined={"y": 1})
    with pytest.raises(UserError, match="part 4–15"):
        judged(boxes, lambda feeds: boxes(feeds, 4.0), joined={"y": -1})
    facts = judged(boxes, lambda feeds: boxes(feeds, 4.0))
    assert facts["sqnr_db"]["y"] > 30
    assert "part 4–15" in facts["concern"], "an index may be near zero for another reason, so this only warns"


def test_parts_that_are_kept_apart_pass() -> None:
    def made(feeds: Any) -> dict[str, np.ndarray]:
        exact, coarse = boxes(feeds)["y"], boxes(feeds, 2.0)["y"]
        return {"y": np.concatenate([coarse[:, :4], np.round(exact[:, 4:] * 255) / 255], axis=1)}

    facts = judged(boxes, made, joined={"y": 1})
    assert set(facts["sqnr_parts"]) == {"y[1: 0–3]", "y[1: 4–15]"}
    assert min(facts["sqnr_parts"].values()) > 35
    assert "concern" not in facts


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(UserError, match="infinite or NaN where its source is finite"):
        judged(plain, lambda feeds: {"y": np.where(feeds["x"] > 1, value, feeds["x"])})


def test_infinities_of_the_source_are_left_out() -> None:
    def source(feeds: Any) -> dict[str, np.ndarray]:
        return {"y": np.where(feeds["x"] > 1, -np.inf, feeds["x"])}

    assert judged(source, source)["sqnr_db"] == {"y": 200.0}


def test_whole_numbers_are_counted() -> None:
    def source(feeds: Any) -> dict[str, np.ndarray]:
        return {"class": feeds["x"].argmax(1)}

    def made(feeds: Any) -> dict[str, np.ndarray]:
        found = source(feeds)["class"].copy()
        found[0] += 1
        return {"class": found}

    assert judged(source, made) == {"sqnr_db": {}, "agreement": {"class": 0.875}}


def test_another_shape_or_a_lost_output_is_refused() -> None:
    with pytest.raises(UserError, match=r"output 'y' .* has the shape \[8\]; its source's has the shape \[8, 16\]"):
        judged(plain, lambda feeds: {"y": feeds["x"][:, 0]})
    with pytest.raises(
        UserError, match="output 'y' of the model that the step made has no value; its source's has the shape"
    ):
        judged(plain, lambda feeds: {"z": feeds["x"]})
