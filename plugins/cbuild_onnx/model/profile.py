"""ONNX Runtime's profiler: a JSON file of events, one for each operator of each run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cbuild_kit.profiled import Run, answer, feeds

from compressbuild.api import Context, Profiling

from .files import find, read
from .runner import OnnxRunner

__all__ = ["profile", "profiled"]

_END = "_kernel_time"  # of the event that times an operator's own work


def profile(ctx: Context, model: Path, params: Profiling) -> dict[str, Any]:
    """The reference runtime: CPU, as many threads as the node has."""
    path = find(model)
    runner = OnnxRunner(path, threads=ctx.threads, profile=ctx.scratch / "profile")
    return profiled(runner, runner.end_profile, params, path)


def profiled(runner: Any, end: Callable[[], str], params: Profiling, model: Path | None = None) -> dict[str, Any]:
    """Run a session that was opened with ``enable_profiling``. ``end``: ends it and names the file of events.

    An operator that ONNX Runtime fused appears under the fused one's name and type. One that it only laid out for the
    processor has the name that it has in the file ``model``. Times are of the operator's kernel alone.
    """
    names = {} if model is None else _laid_out(model)
    arrays, batch = feeds(runner.inputs, params, runner)
    for _ in range(params.warmup + params.repeats):
        runner(arrays)
    described = runner.describe()
    path = end()
    try:
        events = json.loads(Path(path).read_text(encoding="utf-8"))
    finally:
        os.unlink(path)
    return answer(_runs(events, names)[-params.repeats :], batch, described)  # sizes may have been tried before


def _laid_out(model: Path) -> dict[str, str]:
    """What ONNX Runtime calls a convolution in a layout of its own, after its output → the node's name."""
    proto = read(model, weights=False)
    return {f"{node.output[0]}_nchwc": node.name for node in proto.graph.node if node.name and node.output}


def _runs(events: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[Run]:
    """In a file's order an operator's event comes before that of the run that it is part of."""
    found: list[Run] = []
    operators: dict[tuple[str, str], tuple[float, int]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_END):
            name = event["name"].removesuffix(_END)
            key = names.get(name, name), event["args"]["op_name"]
            us, calls = operators.get(key, (0.0, 0))
            operators[key] = us + event["dur"], calls + 1
        elif event.get("cat") == "Session" and event["name"] == "model_run":
            found.append(Run(event["dur"], operators))
            operators = {}
    return found
