"""The tables about scale are what the script makes of its constants, and its simulation is sound where one can tell."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scale() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks" / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_them(scale: ModuleType) -> None:
    found = json.loads(scale.FILE.read_text())
    assert "\n".join(scale.tables(found)) in scale.PAGE.read_text(), "run python benchmarks/scale.py --write"


def test_free_workers_are_busy(scale: ModuleType) -> None:
    assert scale.simulated(10, 1.0, 0.0, 0.0, 1.0, 500) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("client", "size", "busy"),
    [
        (0.1, 0.0, 0.1),  # the client gives out 10 steps a second, to 100 workers that could take 100
        (0.0, 5.0, 0.1),  # the link takes 0.1 s for what a step reads and writes
        (0.0, 0.05, 1.0),  # a tenth of that: no limit yet, nearly
    ],
)
def test_a_limit_shows(scale: ModuleType, client: float, size: float, busy: float) -> None:
    """Of a queue whose one server is full, the throughput is that server's."""
    assert scale.simulated(100, 1.0, size, client, 100.0, 4000) == pytest.approx(busy, rel=0.12)
