"""The share of the weights that a quantizer reached."""

from __future__ import annotations

from pathlib import Path

import pytest
from cbuild_kit.coverage import coverage, merged

from compressbuild.api.testing import make_context


def test_below_half_is_a_concern_that_names_the_largest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ctx = make_context(tmp_path)
    before = {"embedding": 600, "head": 300, "bias": 100}
    facts = coverage(ctx, before, {"embedding": 600, "bias": 100})
    assert facts["quantized_share"] == 0.3
    assert facts["concern"] == (
        "only 30% of the weights' bytes are quantized (below 50% is a warning); the largest in float is 'embedding', "
        "60% of all"
    )
    assert "only 30%" in caplog.text
    assert coverage(ctx, before, {"head": 300, "bias": 100}) == {"quantized_share": 0.6}
    assert coverage(ctx, before, {}) == {"quantized_share": 1.0}
    assert coverage(ctx, before, {"embedding": 900, "twice": 900})["quantized_share"] == 0
    assert coverage(ctx, {}, {}) == {}


def test_two_concerns_stand_side_by_side() -> None:
    assert merged({"a": 1, "concern": "one"}, {"b": 2, "concern": "two"}) == {"a": 1, "b": 2, "concern": "one; two"}
    assert merged({"a": 1}, {"b": 2}) == {"a": 1, "b": 2}
