"""Latency, interleaved with a baseline's in one process: A B, B A, A B … in many short blocks.

A block runs one model a few times and keeps its median. The ratio is the median over pairs of neighbouring blocks, so
whatever slows the machine for longer than a block slows both sides of a pair. Its interval is a percentile bootstrap
over the pairs (Efron, "Bootstrap methods: another look at the jackknife", 1979).

On a crowded machine a run longer than a scheduler's time slice waits for its turn while a shorter one does not, which
no interleaving evens out. So pairs in which the kernel took the processor away (getrusage(2), ``ru_nivcsw``) do not
count, unless too few others are left: then all count, and the result is called noisy.
"""

from __future__ import annotations

import gc
import math
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.api import Context

from . import Latency
from .feeds import example, model_inputs

__all__ = ["Timed", "latency", "measure", "ratio_interval"]

BLOCK_SECONDS = 0.002  # a block is as long as this or one run, whichever is longer
MOST_RUNS = 64  # in a block
FEWEST_BLOCKS = 5
NOISY_SPREAD = 0.15  # interquartile range of the blocks over their median
NOISY_INTERVAL = 0.10  # width of the ratio's interval over the ratio
RESAMPLES = 2000


@dataclass(slots=True)
class Timed:
    """One model under the clock. ``blocks``: median seconds of each block. ``runs``: seconds of every run.
    ``disturbed``: blocks in which the processor was taken away; ``crowded``: they had to be counted, too."""

    run: Callable[[], object]
    repeat: int = 1
    blocks: list[float] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)
    crowded: bool = False
    runs: list[float] = field(default_factory=list)

    def warm_up(self, count: int, limit: float, clock: Callable[[], float]) -> None:
        """Run ``count`` times, or twice at least if that takes ``limit`` seconds; sets how many runs a block has."""
        start = clock()
        each = [self._once(clock), self._once(clock)]
        while len(each) < count and clock() - start < limit:
            each.append(self._once(clock))
        self.repeat = min(MOST_RUNS, max(1, math.ceil(BLOCK_SECONDS / max(min(each), 1e-9))))

    def block(self, clock: Callable[[], float]) -> None:
        times = [self._once(clock) for _ in range(self.repeat)]
        self.runs += times
        self.blocks.append(float(np.median(times)))

    def _once(self, clock: Callable[[], float]) -> float:
        start = clock()
        self.run()
        return clock() - start

    @property
    def spread(self) -> float:
        """Interquartile range of the blocks over their median."""
        low, middle, high = np.percentile(self.blocks, (25, 50, 75))
        return float((high - low) / middle) if middle else 0.0


def latency(ctx: Context, subject: Path, params: Latency) -> dict[str, Any]:
    """``{"value": median ms, "p95", "p99", "samples": runs, "blocks", "spread", "noisy", "batch", "describe", …}``.

    With a baseline also ``{"baseline": {"value": ms, "describe"}, "ratio", "ratio_low", "ratio_high"}``, where a ratio
    below 1 is faster and the interval is of 95 %; a baseline that cannot be loaded or run leaves
    ``{"baseline": {"error": …}}``.
    """
    runner = ctx.runner("subject")
    sample = example(model_inputs(runner), params.axes, batch=params.batch, seed=params.seed)
    timed = [Timed(lambda: runner(sample.feeds))]
    baseline, error = _baseline(ctx, params, sample.batch) if ctx.has("baseline") else (None, None)
    if baseline is not None:
        timed.append(baseline[1])
    measure(timed, params, time.perf_counter, lambda done: ctx.progress(done, 1.0))
    found = _summary(timed[0]) | {"batch": sample.batch, "describe": runner.describe()}
    found["throughput"] = 1000 * sample.batch / found["value"] if found["value"] else 0.0
    if sample.axes:
        found["axes"] = dict(sample.axes)
    if baseline is not None:
        found["baseline"] = {"value": _summary(timed[1])["value"], "describe": baseline[0].describe()}
        found |= _ratio(timed, params.seed)
    elif error is not None:
        found["baseline"] = {"error": error}
    found["noisy"] = _noisy(timed, params.seed)
    return found


def _baseline(ctx: Context, params: Latency, batch: int) -> tuple[tuple[Any, Timed] | None, str | None]:
    """((runner, what to time), None), or (None, why there is none)."""
    try:
        runner = ctx.runner("baseline")
        sample = example(model_inputs(runner), params.axes, batch=params.batch, seed=params.seed)
        runner(sample.feeds)
    except Exception as error:  # noqa: BLE001 (another backend's code: whatever it raises, the subject is still measured)
        ctx.log.warning("the baseline cannot be measured: %s", error)
        return None, f"the baseline cannot be measured: {error}"
    if sample.batch != batch:
        return None, f"the baseline takes batches of {sample.batch}, this model of {batch}: they cannot be compared"
    return (runner, Timed(lambda: runner(sample.feeds))), None


def measure(
    timed: list[Timed],
    params: Latency,
    clock: Callable[[], float],
    progress: Callable[[float], None] = lambda _: None,
    switches: Callable[[], int] = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw,
) -> None:
    """Fill the blocks of one model, or of two in turn, within ``params.seconds``, or twice that while it is noisy."""
    with _no_collection():
        for one in timed:
            one.warm_up(params.warmup, params.seconds / 4, clock)
        start = clock()
        pairs = 0
        while len(timed[0].blocks) < params.blocks:
            before = switches()
            for one in timed if pairs % 2 == 0 else timed[::-1]:  # who goes first alternates
                one.block(clock)
            pairs += 1
            if switches() != before:
                for one in timed:
                    one.disturbed.append(one.blocks.pop())
            used = (clock() - start) / params.seconds
            progress(min(max(used / 2, len(timed[0].blocks) / params.blocks), 1.0))
            enough = len(timed[0].blocks) >= FEWEST_BLOCKS
            if used >= 2 and pairs >= FEWEST_BLOCKS:
                break
            if enough and used >= 1 and not _noisy(timed, params.seed, resamples=200):
                break
        progress(1.0)
    if len(timed[0].blocks) < FEWEST_BLOCKS:
        for one in timed:
            one.blocks += one.disturbed
            one.crowded = True


@contextmanager
def _no_collection() -> Iterator[None]:
    """The garbage collector would run in some blocks and not in others."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _summary(timed: Timed) -> dict[str, Any]:
    runs = 1000 * np.asarray(timed.runs)
    return {
        "value": float(np.median(1000 * np.asarray(timed.blocks))),
        "p95": float(np.percentile(runs, 95)),
        "p99": float(np.percentile(runs, 99)),
        "samples": len(timed.runs),
        "blocks": len(timed.blocks),
        "disturbed": len(timed.disturbed),
        "spread": timed.spread,
    }


def ratio_interval(
    subject: list[float], baseline: list[float], seed: int, resamples: int = RESAMPLES
) -> tuple[float, float, float]:
    """(median ratio of paired blocks, 2.5 % and 97.5 % of its bootstrap distribution)."""
    ratios = np.asarray(subject) / np.maximum(baseline, 1e-12)
    drawn = np.random.default_rng(seed).integers(0, len(ratios), (resamples, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), (2.5, 97.5))
    return float(np.median(ratios)), float(low), float(high)


def _ratio(timed: list[Timed], seed: int) -> dict[str, float]:
    ratio, low, high = ratio_interval(timed[0].blocks, timed[1].blocks, seed)
    return {"ratio": ratio, "ratio_low": low, "ratio_high": high}


def _noisy(timed: list[Timed], seed: int, resamples: int = RESAMPLES) -> bool:
    if timed[0].crowded:
        return True
    if len(timed) == 1:
        return timed[0].spread > NOISY_SPREAD
    ratio, low, high = ratio_interval(timed[0].blocks, timed[1].blocks, seed, resamples)
    return (high - low) / ratio > NOISY_INTERVAL
