"""kill -9 at a random moment of a build that runs in one process: dense where the engine works, and quick."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from quick import Quick
from sweeps import tallied, tries

TEXT = """
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length, wait], baseline: a}
targets:
  a: {from: f, steps: [{toy.mix: {salt: 1}}]}
  b: {from: a, steps: [{toy.copy: {note: x}}], gates: {length: {max: 100}}}
  c: {from: a, steps: [{toy.mix: {others: [b], salt: 3}}]}
"""


def records(work: Quick) -> list[Path]:
    return list((work.root / "cache").glob("ac/*/*"))


def killed(fast_path: Path, usual: int, record_property: Callable[[str, object], None]) -> None:
    """Of builds from nothing, and builds after an edit. A node with a record does not run again, every other does."""
    fresh = Quick(fast_path / "fresh", toy=True)
    fresh.write("f.txt", "abc")
    fresh.write("Compressfile", TEXT)
    built = fresh.copy(fast_path / "built")
    built("all")
    built.write("f.txt", "edited")
    starts, wants, lengths = (fresh, built), [], []
    for number, start in enumerate(starts):
        clean = start.copy(fast_path / f"clean{number}")
        began = time.monotonic()
        clean("all")
        lengths.append(time.monotonic() - began)
        wants.append((clean.everything(), len(records(clean))))
    with tallied(record_property) as tally:
        while tally.tried < usual and (tally.in_time or not tally.tried):
            number = tally.rng.randrange(2)
            work, (want, total) = starts[number].copy(fast_path / "work"), wants[number]
            moment = tally.rng.uniform(0, 1.2 * lengths[number])
            if work.killed(moment, "all"):
                with tally.case(f"{('fresh', 'edited')[number]}, after {moment:.4f} s"):
                    kept = len(records(work))
                    again = work.json("all", code=None)
                    assert again.code == 0, again.text
                    assert len(again.started) == total - kept, f"{again.started} ran, {kept} were kept"
                    assert work.everything() == want
                    assert work("verify", code=None).code == 0
                    assert work("cache", "verify", code=None).code == 0
                    assert "nothing to do" in work("all").out
                    assert not list((work.root / "build").glob(".*")), "a killed build's leftovers"
            shutil.rmtree(work.root)


def test_thirty_kills(fast_path: Path, record_property: Callable[[str, object], None]):
    killed(fast_path, 30, record_property)


@pytest.mark.slow
def test_thousand_kills(fast_path: Path, record_property: Callable[[str, object], None]):
    killed(fast_path, tries(1000), record_property)
