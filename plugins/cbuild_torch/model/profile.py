"""torch's profiler: time of each operator of the dispatcher, summed over its calls."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from cbuild_kit.profiled import Run, answer, feeds

from compressbuild.api import Context, Profiling

__all__ = ["RUN", "profile", "watched"]

RUN = "cbuild.run"  # the event that a run is


def profile(ctx: Context, model: Path, params: Profiling) -> dict[str, Any]:
    """The module in eager mode, on the CPU. Operators are those of ATen, and each row is all calls of one: the profiler
    does not tell which layer they came from. Times are without those of the operators that one calls in turn."""
    runner = ctx.runner("subject")
    arrays, batch = feeds(runner.inputs, params, runner)
    return answer(_runs(watched(lambda: runner(arrays), params)), batch, runner.describe())


def watched(run: Callable[[], object], params: Profiling) -> list[Any]:
    """torch's events of the runs that are counted, on the CPU."""
    for _ in range(params.warmup):
        run()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        for _ in range(params.repeats):
            with torch.profiler.record_function(RUN):
                run()
    return list(seen.events())


def _runs(events: list[Any]) -> list[Run]:
    """An operator belongs to the run in whose time it began."""
    marks = sorted((event.time_range for event in events if event.key == RUN), key=lambda time: time.start)
    starts = [mark.start for mark in marks]
    found: list[dict[tuple[str, str], tuple[float, int]]] = [{} for _ in marks]
    for event in events:
        at = bisect_right(starts, event.time_range.start) - 1
        if event.key != RUN and at >= 0:
            us, calls = found[at].get((event.key, event.key), (0.0, 0))
            found[at][event.key, event.key] = us + event.self_cpu_time_total, calls + 1
    return [Run(mark.elapsed_us(), rows) for mark, rows in zip(marks, found, strict=True)]
