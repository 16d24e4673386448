"""One project whose environments are made once; each test has a copy."""

from __future__ import annotations

from pathlib import Path

import pytest
from twotools import TwoTools, shelf

from compressbuild.environment.uv import find_uv


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_uv() is None:
        pytest.skip("uv is not installed")
    return shelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(scope="session")
def first_build(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> TwoTools:
    work = TwoTools(tmp_path_factory.mktemp("first") / "project", wheels)
    work("all")
    return work


@pytest.fixture
def built(first_build: TwoTools, tmp_path: Path) -> TwoTools:
    """Built before, then moved."""
    return first_build.duplicate(tmp_path / "moved")


@pytest.fixture
def fresh(wheels: Path, tmp_path: Path) -> TwoTools:
    """Never built."""
    return TwoTools(tmp_path / "fresh" / "project", wheels)
