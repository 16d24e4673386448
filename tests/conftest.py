"""Fixtures for the tests of the engine."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
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


@pytest.fixture
def fast_path() -> Iterator[Path]:
    """A directory in memory where the system has one: thousands of files are made, and no disk is under test."""
    root = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="compressbuild-", dir=root))
    yield path
    shutil.rmtree(path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked slow are for ``make soak``, and for whoever names them or their mark."""
    if config.option.markexpr or any("::" in argument for argument in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """``make soak`` ends with a table of its sweeps: what recorded ``tried`` (and ``failed``, ``seed``) has a row."""
    if not os.environ.get("CBUILD_SOAK"):
        return
    rows = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            said = dict(report.user_properties)
            if report.when == "call" and "tried" in said:
                failed = said.get("failed", int(outcome == "failed"))
                rows.append((report.nodeid, str(said["tried"]), str(failed), str(said.get("seed", "every case"))))
    if rows:
        rows = [("test", "tried", "failed", "seed"), *sorted(rows)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        terminalreporter.section("sweeps")
        for row in rows:
            terminalreporter.line(
                "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            )
