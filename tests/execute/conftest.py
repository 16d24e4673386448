from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from execute_bench import Bench

from compressbuild.execute.local import LocalExecutor


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An executor and an empty project."""
    (tmp_path / "project").mkdir()
    with LocalExecutor() as executor:
        yield Bench(tmp_path, executor)
