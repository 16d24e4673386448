"""OpenVINO's performance counters over a compiled model."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from cbuild_kit.profiled import Run, answer, feeds, layer_of

from compressbuild.api import Context, Profiling

from .artifact import read
from .runner import OpenVinoRunner
from .settings import OpenVinoSettings

__all__ = ["layer", "profile"]

_FEW = 5  # runs of a profile with a model loaded once
_ADDED = re.compile(r"/(WithoutBiases|Dequantization\w*|fq_\w+)(?=/|$)")  # what OpenVINO puts after a node's name
_LAYOUT = r"[a-fA-F]{3,6}(?:\d+[a-f])*"
_BETWEEN = re.compile(
    f"_{_LAYOUT}_{_LAYOUT}_"
)  # of an operator that changes one into the other: maker_abcd_acdb_reader


def profile(ctx: Context, artifact: Path, params: Profiling) -> dict[str, Any]:
    """With OpenVINO's performance counters. A row's type is that of the graph's operator, with the kernel that runs it.
    What was fused into another operator or computed beforehand has no row.

    The counters are means over all runs since the model was loaded, in whole microseconds; one run is what n means n
    times differ by from n - 1 times the means before it. That is coarse where n is large, so the model is loaded again
    every few runs.
    """
    runs: list[Run] = []
    batch, described = params.batch, {}
    while len(runs) < params.repeats:
        runner = OpenVinoRunner(read(artifact), ctx.settings("subject") or OpenVinoSettings(), count=True)
        arrays, batch = feeds(runner.inputs, params)
        described = runner.describe()
        first = max(1, min(params.warmup, _FEW))
        for _ in range(first):
            runner(arrays)
        before = runner.counters()
        for count in range(first + 1, first + 1 + min(_FEW, params.repeats - len(runs))):
            start = time.perf_counter()
            runner(arrays)
            us, after = 1e6 * (time.perf_counter() - start), runner.counters()
            own = {key: mean * count - before.get(key, 0.0) * (count - 1) for key, mean in after.items()}
            runs.append(Run(us, {key: (max(0.0, took), 1) for key, took in own.items()}))
            before = after
        ctx.progress(len(runs), params.repeats)
    return answer(runs, batch, described, layer)


def layer(name: str) -> str:
    """The module in an operator's name. One that only changes the layout is of the module that reads it, or else of
    the one that made it."""
    maker, *reader = _BETWEEN.split(_ADDED.sub("", name), maxsplit=1)
    return next((found for part in (*reader, maker) if (found := layer_of(part))), "")
