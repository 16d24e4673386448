"""torch's profiler over a package: its calls of ATen's operators, and its own kernels where the code marks them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cbuild_kit.profiled import Run, answer, feeds
from cbuild_torch.model.profile import RUN, watched

from compressbuild.api import Context, Profiling, UserError

from .runner import PackageRunner
from .settings import InductorSettings

__all__ = ["operators", "profile"]

_GRAPH = re.compile(r"^graph_\d+_")
_KERNEL = re.compile(r"^(cpp_\w+)_\d+$")  # TorchInductor numbers what it generated


def profile(ctx: Context, artifact: Path, params: Profiling) -> dict[str, Any]:
    """Rows are what the package calls, each with all that it calls in turn; calls of one name are numbered in their
    order. A run is one of the native code alone. UserError for a package that runs on a GPU: torch's profiler would
    show how long it takes to start the kernels."""
    settings = ctx.settings("subject") or InductorSettings()
    runner = PackageRunner(artifact, settings)
    described = runner.describe()
    if described["device"] != "cpu":
        raise UserError(
            "only a package for the CPU can be profiled", hint="use NVIDIA's Nsight Systems for GPU kernels"
        )
    if not settings.kernel_profile:
        described["kernels"] = "not shown: set 'kernel-profile: true' on the platform to see them"
    arrays, batch = feeds(runner.inputs, params)
    values = runner.tensors(arrays)
    events = watched(lambda: runner.run(values), params)
    runs = [Run(event.time_range.elapsed_us(), operators(event.cpu_children)) for event in events if event.key == RUN]
    return answer(runs, batch, described)


def operators(calls: Iterable[Any]) -> dict[tuple[str, str], tuple[float, int]]:
    """(name, type) → (µs, 1) of the calls of one run."""
    ordered = [(_GRAPH.sub("", call.key), call) for call in sorted(calls, key=lambda call: call.time_range.start)]
    often, seen = Counter(key for key, _ in ordered), Counter[str]()
    found: dict[tuple[str, str], tuple[float, int]] = {}
    for key, call in ordered:
        seen[key] += 1
        name = f"{key} #{seen[key]}" if often[key] > 1 else key
        found[name, _KERNEL.sub(r"\1", key)] = call.time_range.elapsed_us(), 1
    return found
