"""Time of each layer of an engine, as TensorRT's own profiler reports it."""

from __future__ import annotations

import time
from typing import Any

from cbuild_kit.profiled import Run, answer, feeds

from compressbuild.api import Context, Profiling, UserError

from .runner import EngineRunner

__all__ = ["LayerTimes", "profiled"]

_TYPE = "layer"  # an engine keeps the names of its layers, not their types


class LayerTimes:
    """Microseconds and calls of each layer since the last :meth:`take`."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], tuple[float, int]] = {}

    def add(self, name: str, ms: float) -> None:
        us, calls = self._rows.get((name, _TYPE), (0.0, 0))
        self._rows[name, _TYPE] = us + 1000 * ms, calls + 1

    def take(self) -> dict[tuple[str, str], tuple[float, int]]:
        rows, self._rows = self._rows, {}
        return rows


def profiled(ctx: Context, runner: EngineRunner, params: Profiling) -> dict[str, Any]:
    """Rows are the engine's layers, which TensorRT fuses and names. A run includes copies between host and GPU.
    UserError if the library reports no layer."""
    times = LayerTimes()
    runner.observe(_profiler(runner.library.trt, times))
    arrays, batch = feeds(runner.inputs, params)
    for _ in range(params.warmup):
        runner(arrays)
    times.take()
    runs = []
    for done in range(1, params.repeats + 1):
        start = time.perf_counter()
        runner(arrays)
        runs.append(Run(1e6 * (time.perf_counter() - start), times.take()))
        ctx.progress(done, params.repeats)
    if not any(run.operators for run in runs):
        raise UserError(f"{runner.library.title} reported no times of layers")
    return answer(runs, batch, runner.describe())


def _profiler(trt: Any, times: LayerTimes) -> Any:
    """An ``IProfiler``, which is called once for each layer of a run before ``execute_async_v3`` returns."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times.add(layer_name, ms)

    return Profiler()
