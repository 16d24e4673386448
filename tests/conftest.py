"""Fixtures for the tests of the engine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from toyproject import Toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """An empty project with one file, ``f.txt``."""
    project = Toy(tmp_path / "project")
    project.write("f.txt", "abc")
    return project
