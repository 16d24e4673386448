"""Projects for the tests of the whole command: the toy one, a small real one, and the example."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from calibration import write_calibration
from command import Work

from compressbuild.platforms import probe
from compressbuild.platforms.saturation import saturates

REPO = Path(__file__).parents[2]
HERE = Path(__file__).parent


@pytest.fixture
def toys(tmp_path: Path) -> Work:
    """An empty project of the toy plugin, with one file, ``f.txt``."""
    work = Work(tmp_path / "toys", toy=True)
    work.write("f.txt", "abc")
    return work


@pytest.fixture(scope="session")
def mini_built(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The small real project (``mini/``), built. Not to be altered: take ``mini``."""
    root = tmp_path_factory.mktemp("mini") / "project"
    shutil.copytree(HERE / "mini", root)
    write_calibration(root / "data/calibration.npz", 60)
    work = Work(root)
    work("all")
    return work


@pytest.fixture
def mini(mini_built: Work, tmp_path: Path) -> Work:
    """A copy of the small real project with its cache, to alter."""
    return mini_built.copy(tmp_path / "mini")


@pytest.fixture(scope="session")
def example_built(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The example, built as `make demo` does it; ``first`` is what the build said. Not to be altered."""
    root = tmp_path_factory.mktemp("example") / "project"
    root.mkdir()
    text, limit = (REPO / "Compressfile.example").read_text(), "{max-ratio: 0.9, against: cpu-fp32}"
    assert limit in text
    if saturates(probe()):  # int8 is faster only with VNNI, so the gate rightly fails without
        text = text.replace(limit, "{max-ratio: 9, against: cpu-fp32}")
    (root / "Compressfile").write_text(text)
    shutil.copytree(REPO / "examples", root / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    work = Work(root)
    ran = work("all", timeout=900)
    (root / "first.txt").write_text(ran.text)
    return work


@pytest.fixture
def example(example_built: Work, tmp_path: Path) -> Work:
    """A copy of the example with its cache, to alter."""
    return example_built.copy(tmp_path / "example")
