"""Fixtures for the tests of the engine."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent / "support"))

from soak import TIME_IS_OVER
from toyproject import Toy
from watched import Watched

from compressbuild.platforms import probe
from compressbuild.platforms.saturation import saturates

# How long an example takes is the machine's affair.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# A shell that runs a command in the background, or nohup, may have it ignore these, and so all that the tests start.
_HANDLERS = {signal.SIGINT: signal.default_int_handler, signal.SIGQUIT: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
for _number, _handler in _HANDLERS.items():
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Watched(config), "watched")


@cache
def _end() -> float:
    """When the time of this file is over, from its first test on."""
    return time.monotonic() + float(os.environ.get("CBUILD_FILE_SECONDS", "inf"))


def pytest_runtest_setup() -> None:
    """``make soak`` with a bound: what the file's time does not reach is skipped, and counted in its table."""
    if time.monotonic() > _end():
        pytest.skip(TIME_IS_OVER)


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
    if "CBUILD_FILE_SECONDS" in os.environ:
        random.shuffle(items)  # so that those which the time does not reach are others each time
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(0))  # make soak bounds each file
    exact = [item for item in items if item.get_closest_marker("vnni")]
    if exact and saturates(probe()):
        for item in exact:
            item.add_marker(pytest.mark.skip(reason="this processor has no VNNI: sums of u8 × s8 saturate"))
    if config.option.markexpr or any("::" in argument for argument in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]
