"""Throughput, load time and memory of a model."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import fitting

from compressbuild.api import Context, UserError

from .params import Latency, Load, Memory, Throughput
from .timing import Timed, measure

__all__ = ["load_time", "peak_memory", "throughput"]


def throughput(ctx: Context, subject: Path, params: Throughput) -> dict[str, Any]:
    """``{"value": most samples a second, "batch": of those, "batches": {"8": {"value": samples/s, "latency": ms,
    "spread"}}, "describe"}``. A model of fixed batch is measured at that one."""
    runner = ctx.runner("subject")
    rows: dict[str, dict[str, float]] = {}
    for done, batch in enumerate(params.batches):
        sample = fitting(runner.inputs, params.axes, runner, batch=batch, seed=params.seed)
        if str(sample.batch) in rows:
            continue
        timed = measure(
            lambda feeds=sample.feeds: [Timed(lambda: runner(feeds))],  # type: ignore[misc]
            Latency(seconds=params.seconds, warmup=params.warmup),
            time.perf_counter,
        )
        seconds = timed.time().value
        rows[str(sample.batch)] = {
            "value": sample.batch / seconds if seconds else 0.0,
            "latency": 1000 * seconds,
            "spread": timed.spread(),
        }
        ctx.progress(done + 1, len(params.batches))
    best = max(rows, key=lambda batch: rows[batch]["value"])
    return {"value": rows[best]["value"], "batch": int(best), "batches": rows, "describe": runner.describe()}


def load_time(ctx: Context, subject: Path, params: Load) -> dict[str, Any]:
    """``{"value": median ms from files to a runner, "first": the first time, with the import of its libraries,
    "least", "samples"}``. The files are in the system's cache after the first."""
    times = []
    for done in range(params.repeat + 1):
        start = time.perf_counter()
        runner = ctx.runner("subject")
        times.append(1000 * (time.perf_counter() - start))
        del runner
        gc.collect()
        ctx.progress(done + 1, params.repeat + 1)
    rest = times[1:]
    return {"value": float(np.median(rest)), "first": times[0], "least": min(rest), "samples": len(rest)}


def peak_memory(ctx: Context, subject: Path, params: Memory) -> dict[str, Any]:
    """``{"value": bytes, "loaded", "batch"}``: how far the process' resident memory rises above what it had before the
    model was loaded, while it is loaded and run; ``loaded``: after loading. What a GPU holds is not in it.

    Linux: VmHWM, after a reset through ``clear_refs`` (proc(5)).
    """
    ctx.runner("subject")  # its libraries are no part of the model
    gc.collect()
    before = _reset()
    runner = ctx.runner("subject")
    loaded = _status("VmRSS")
    sample = fitting(runner.inputs, params.axes, runner, batch=params.batch, seed=0)
    for _ in range(params.runs):
        runner(sample.feeds)
    rise = max(0, _status("VmHWM") - before)
    return {"value": rise, "loaded": max(0, loaded - before), "batch": sample.batch, "describe": runner.describe()}


def _reset() -> int:
    """Resident bytes now, which the peak is counted from."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        hint = "leave 'peak-memory' out of the metrics"
        raise UserError(f"this system does not report peak memory: {error}", hint=hint) from error
    return _status("VmRSS")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise UserError(f"this system does not report {field}")
