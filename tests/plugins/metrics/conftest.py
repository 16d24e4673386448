from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runner import FakeContext

from compressbuild.api import Params
from compressbuild.api.testing import make_context


@pytest.fixture
def fake(tmp_path: Path) -> Callable[..., FakeContext]:
    def make(data: Any = None, params: Params | None = None, **runners: Any) -> FakeContext:
        ctx = make_context(tmp_path / "out", params=params)
        ctx.__class__ = FakeContext
        ctx.runners, ctx.data = runners, data  # type: ignore[attr-defined]
        return ctx  # type: ignore[return-value]

    return make


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def run_on_digits(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run a metric function on an artifact made of the digits example; what it returned."""
    import digits

    def run(function: str, subject: Path, params: Params) -> dict[str, Any]:
        place = tmp_path / f"{subject.parent.name}-{function.rpartition(':')[2]}"
        return digits.apply(function, subject, params, place).facts

    return run
