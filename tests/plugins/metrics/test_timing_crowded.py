"""Timing on the real clock while another program takes the processor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from cbuild_metrics.speed.params import Latency
from cbuild_metrics.speed.timing import Timed, measure

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="pins processes to a processor")


@pytest.fixture
def crowded() -> Iterator[None]:
    """This process shares one processor with one that never sleeps."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])  # it inherits the affinity
    try:
        yield
    finally:
        hog.kill()
        hog.wait()
        os.sched_setaffinity(0, before)


def spin(count: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(count):
            pass

    return run


@pytest.mark.usefixtures("crowded")
@pytest.mark.parametrize("times", [1, 3])
def test_the_ratio_is_that_of_the_work_and_not_of_the_waiting(times: int) -> None:
    short, long = spin(20_000), spin(20_000 * times)
    sample = measure(lambda: [Timed(long), Timed(short)], Latency(seconds=2.0), time.perf_counter)
    assert sample.waited > 10, "the scheduler never took the processor away: this proves nothing"
    found = sample.ratio()
    assert found.value == pytest.approx(times, rel=0.06)
    assert found.low <= times * 1.02
    assert found.high >= times * 0.98
    assert times == 1 or found.low > 2.0
    waited = max(max(runs) for runs in sample.runs)
    assert waited > 2 * sample.time(1).value  # and they would have counted: some runs did wait
