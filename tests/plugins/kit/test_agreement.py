from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbuild_kit import agreement
from cbuild_kit.agreement import Agreement
from cbuild_kit.parity import check_parity

from compressbuild.api import ModelInput, Parity
from compressbuild.api.testing import make_context

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_measures_are_those_of_all_cases_together(
    monkeypatch: pytest.MonkeyPatch, scale: float, dtype: type
) -> None:
    if dtype == np.float16:
        scale = 1.0
    monkeypatch.setattr(agreement, "_PIECE", 7)
    wanted = [(scale * RNG.standard_normal(shape)).astype(dtype) for shape in ((3, 5), (1, 5), (4, 4, 2))]
    wanted[0][1, 2], wanted[2][0, 0, 1] = np.nan, np.inf
    found = [(value * 1.01 + 1e-3 * scale).astype(dtype) for value in wanted]
    tally = Agreement(wanted, max_error=0.01)
    assert all(tally.add(one, other) for one, other in zip(wanted, found, strict=True))
    one, other = (np.concatenate([v.ravel() for v in values]).astype(np.longdouble) for values in (wanted, found))
    one, other = one[np.isfinite(one)], other[np.isfinite(one)]
    noise, peak = other - one, np.abs(one).max()
    measures = tally.measures()
    assert measures["max_abs"] == pytest.approx(float(np.abs(noise).max()), rel=1e-9)
    assert measures["max_error"] == pytest.approx(float(np.abs(noise).max() / peak), rel=1e-9)
    cosine = one @ other / np.sqrt((one @ one) * (other @ other))
    assert measures["cosine"] == pytest.approx(float(cosine), abs=1e-12)
    assert measures["sqnr_db"] == pytest.approx(float(10 * np.log10(one @ one / (noise @ noise))), abs=1e-6)
    assert tally.off == pytest.approx(float((np.abs(noise) > 0.01 * peak).mean()))


def test_without_noise() -> None:
    for values in (np.zeros((2, 3)), np.ones(4), np.zeros(0), np.array(5.0), np.array([True, False])):
        tally = Agreement([values], 0.1)
        assert tally.add(values, values.copy())
        assert tally.measures() == {"max_abs": 0.0, "max_error": 0.0, "cosine": 1.0, "sqnr_db": 200.0}
        assert tally.off == 0.0


def test_what_is_not_finite_where_the_source_is() -> None:
    wanted = np.array([1.0, np.inf, 2.0])
    tally = Agreement([wanted], 0.1)
    assert tally.add(wanted, np.array([1.0, np.nan, 2.0]))
    assert not tally.add(wanted, np.array([1.0, 5.0, np.nan]))


class Wide:
    """Answers of 8 MB for a row."""

    inputs = (ModelInput("x", ("batch", 1), "float32"),)

    def __call__(self, feeds: dict[str, np.ndarray]) -> dict[str, Any]:
        return {"y": np.broadcast_to(feeds["x"], (len(feeds["x"]), 1 << 21)).copy()}

    def describe(self) -> dict[str, Any]:
        return {}


def test_large_outputs_are_held_once(tmp_path: Path) -> None:
    """Those of the source, and of the other model one case at a time."""
    settings = Parity(axes={"batch": [1, 2, 3, 4]})
    tracemalloc.start()
    try:
        facts = check_parity(make_context(tmp_path), settings, "fp32", Wide, Wide, name="it")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert facts["sqnr_db"] == 200.0
    source = (4 + 1 + 2 + 3 + 4 + 4 + 4) * (8 << 20)  # with zeros, extremes and a NaN
    assert peak < source + 4 * (8 << 20) + (96 << 20)
