"""ONNX Runtime's profiler: a JSON file of events, one for each operator of each run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cbuild_kit.profiled import Run, answer, feeds

from compressbuild.api import Context, Profiling

from .files import find
from .runner import OnnxRunner

__all__ = ["profile", "profiled"]

_END = "_kernel_time"  # of the event that times an operator's own work


def profile(ctx: Context, model: Path, params: Profiling) -> dict[str, Any]:
    """The reference runtime: CPU, as many threads as the node has."""
    runner = OnnxRunner(find(model), threads=ctx.threads, profile=ctx.scratch / "profile")
    return profiled(runner, runner.end_profile, params)


def profiled(runner: Any, end: Callable[[], str], params: Profiling) -> dict[str, Any]:
    """Run a session that was opened with ``enable_profiling``. ``end``: ends it and names the file of events.

    An operator that ONNX Runtime fused appears under the fused one's name and type. Times are of the operator's kernel
    alone.
    """
    arrays, batch = feeds(runner.inputs, params)
    for _ in range(params.warmup + params.repeats):
        runner(arrays)
    described = runner.describe()
    path = end()
    try:
        events = json.loads(Path(path).read_text(encoding="utf-8"))
    finally:
        os.unlink(path)
    return answer(_runs(events)[params.warmup :], batch, described)


def _runs(events: Sequence[Mapping[str, Any]]) -> list[Run]:
    """In a file's order an operator's event comes before that of the run that it is part of."""
    found: list[Run] = []
    operators: dict[tuple[str, str], tuple[float, int]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_END):
            key = event["name"].removesuffix(_END), event["args"]["op_name"]
            us, calls = operators.get(key, (0.0, 0))
            operators[key] = us + event["dur"], calls + 1
        elif event.get("cat") == "Session" and event["name"] == "model_run":
            found.append(Run(event["dur"], operators))
            operators = {}
    return found
