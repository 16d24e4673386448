"""Sweeps: many cases under one test, drawn by chance or all of them. The table of ``make soak`` is made from these.

``CBUILD_SEED`` repeats a sweep, ``CBUILD_TRIES`` sets how many cases a long form draws, ``CBUILD_SWEEP_SECONDS`` ends
each sweep after that time, and ``CBUILD_SHARD=2/5`` tries the second fifth of a sweep that tries everything.
``CBUILD_CASES=FILE`` gets a line of JSON for each case as it ends, so that a run of hours can be watched. A sweep that
tries everything goes on where the runs before it, of the same file, have stopped.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from damage import Hang

__all__ = ["Tally", "shard", "tallied", "tries"]

T = TypeVar("T")


class Tally:
    """What a sweep tried. It goes on after a failure, so that one run shows them all."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.tried = 0
        self.before = 0
        """Cases that earlier runs have tried, and that did not fail."""
        self.failed: list[str] = []
        self._deadline = time.monotonic() + float(os.environ.get("CBUILD_SWEEP_SECONDS", "inf"))

    @contextmanager
    def case(self, where: str = "", *, name: str = "") -> Iterator[None]:
        """``name``: by which ``left`` knows it again. ``where`` stands before what it says if it fails."""
        self.tried += 1
        before, begun = len(self.failed), time.monotonic()
        try:
            yield
        except (Exception, Hang) as error:  # noqa: BLE001  the case has failed, and the next is tried
            said = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            self.failed.append(f"{where}: {said}" if where else said)
        if log := os.environ.get("CBUILD_CASES"):
            line = {"test": _test(), "seed": self.seed, "case": self.tried, "name": name}
            line |= {"seconds": round(time.monotonic() - begun, 2), "failed": self.failed[before:]}
            with open(log, "a") as file:
                file.write(json.dumps(line) + "\n")

    def left(self, cases: Sequence[T], name: Callable[[T], str] = str) -> Sequence[T]:
        """Those of ``cases`` which no earlier run that wrote into CBUILD_CASES has tried; one that failed is left."""
        try:
            lines = [json.loads(line) for line in Path(os.environ["CBUILD_CASES"]).read_text().splitlines()]
        except (KeyError, FileNotFoundError):
            return cases
        done = {line["name"] for line in lines if line["test"] == _test() and not line["failed"]}
        left = [case for case in cases if name(case) not in done]
        self.before = len(cases) - len(left)
        return left

    @property
    def in_time(self) -> bool:
        return time.monotonic() < self._deadline

    def upto(self, cases: int | Sequence[T]) -> Iterator[T]:
        """So many numbers, or these cases; fewer if the time is over, but one."""
        for number, each in enumerate(range(cases) if isinstance(cases, int) else cases):
            if number and not self.in_time:
                return
            yield each


@contextmanager
def tallied(record_property: Callable[[str, object], None]) -> Iterator[Tally]:
    """Fails at the end if a case did, or if there was none."""
    tally = Tally(int(os.environ.get("CBUILD_SEED", "0")) or random.SystemRandom().randrange(1, 2**31))
    print(f"CBUILD_SEED={tally.seed}")  # shown with a failure
    try:
        yield tally
    finally:
        record_property("seed", tally.seed)
        record_property("tried", tally.before + tally.tried)
        record_property("failed", len(tally.failed))
    assert tally.before + tally.tried
    assert not tally.failed, f"{len(tally.failed)} of {tally.tried}:\n\n" + "\n\n".join(tally.failed[:50])


def _test() -> str:
    """The test that runs."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]


def tries(usual: int) -> int:
    """How many cases a long form draws."""
    return int(os.environ.get("CBUILD_TRIES", usual))


def shard(cases: Sequence[T]) -> Sequence[T]:
    """The part of ``cases`` that CBUILD_SHARD names."""
    part, _, whole = os.environ.get("CBUILD_SHARD", "1/1").partition("/")
    return cases[int(part) - 1 :: int(whole)]
