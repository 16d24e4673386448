"""Sweeps: many cases under one test, drawn by chance or all of them. The table of ``make soak`` is made from these."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Tally:
    """What a sweep tried. It goes on after a failure, so that one run shows them all."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.tried = 0
        self.failed: list[str] = []

    @contextmanager
    def case(self, where: str = "") -> Iterator[None]:
        self.tried += 1
        try:
            yield
        except Exception as error:  # noqa: BLE001  whatever it is, the case has failed and the next is tried
            said = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            self.failed.append(f"{where}: {said}" if where else said)


@contextmanager
def tallied(record_property: Callable[[str, object], None]) -> Iterator[Tally]:
    """``CBUILD_SEED`` repeats a run. Fails at the end if a case did, or if there was none."""
    tally = Tally(int(os.environ.get("CBUILD_SEED", "0")) or random.SystemRandom().randrange(1, 2**31))
    print(f"CBUILD_SEED={tally.seed}")  # shown with a failure
    try:
        yield tally
    finally:
        record_property("seed", tally.seed)
        record_property("tried", tally.tried)
        record_property("failed", len(tally.failed))
    assert tally.tried
    assert not tally.failed, "\n\n".join(tally.failed)


def tries(usual: int) -> int:
    """How many cases a long form draws: ``CBUILD_TRIES`` asks for more or fewer."""
    return int(os.environ.get("CBUILD_TRIES", usual))
