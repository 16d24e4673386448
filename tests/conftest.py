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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked slow are for ``make soak``, and for whoever names them or their mark."""
    if config.option.markexpr or any("::" in argument for argument in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]
