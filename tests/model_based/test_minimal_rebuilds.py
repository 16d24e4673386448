"""Random graphs and random edits, against an oracle of constructive traces: only actions whose inputs are new run."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from randomgraph import History
from sweeps import Tally, tallied, tries

Record = Callable[[str, object], None]


def graphs(root: Path, tally: Tally, count: int) -> None:
    for _ in tally.upto(count):
        seed = tally.rng.randrange(1 << 32)
        with tally.case(f"graph {seed}"):
            History(root / "project", random.Random(seed)).run(6)
        shutil.rmtree(root / "project")


def test_a_few_graphs(fast_path: Path, record_property: Record) -> None:
    with tallied(record_property) as tally:
        graphs(fast_path, tally, 25)


@pytest.mark.slow
def test_many_graphs(fast_path: Path, record_property: Record) -> None:
    with tallied(record_property) as tally:
        graphs(fast_path, tally, tries(10_000))
