"""What profilers share: inputs to run on, and medians over runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from compressbuild.api import ModelInput, Profiling

from .examples import example, fitting

__all__ = ["Run", "answer", "feeds", "layer_of"]

_BETWEEN = re.compile(r"[\s+(),]+")  # of the names that a runtime puts together where it fuses


@dataclass(frozen=True, slots=True)
class Run:
    """One run under a profiler. ``us``: microseconds of all of it; ``operators``: (name, type) → (µs, calls)."""

    us: float
    operators: Mapping[tuple[str, str], tuple[float, int]]


def feeds(
    inputs: Iterable[ModelInput], params: Profiling, run: Callable[[Mapping[str, Any]], object] | None = None
) -> tuple[dict[str, Any], int]:
    """(random arrays for a Runner's ``inputs``, samples in them). A fixed batch stays; a dynamic axis that is given no
    size is 16, or what :func:`~cbuild_kit.fitting` finds with ``run``, where that is given."""
    items = tuple(inputs)
    dynamic = {axis for item in items for axis in item.shape if isinstance(axis, str)}
    asked = {axis: size for axis, size in params.axes.items() if axis in dynamic}
    fits = {"batch": params.batch, "seed": params.seed}
    sample = example(items, asked, **fits) if run is None else fitting(items, asked, run, **fits)
    return dict(sample.feeds), sample.batch


def layer_of(name: str) -> str:
    """The module in an operator's name, as exporters of ONNX write it: ``blocks.0.conv1/node_Conv_126`` and
    ``/blocks/0/conv1/Conv`` are of ``blocks.0.conv1`` and ``blocks/0/conv1``. Of fused operators that of the first;
    empty if there is none."""
    word = next((word for word in _BETWEEN.split(name) if "/" in word), "")
    return word.rpartition("/")[0].strip("/")


def answer(
    runs: Sequence[Run], batch: int, describe: Mapping[str, Any], layer: Callable[[str], str] = layer_of
) -> dict[str, Any]:
    """The fields of a Profile: medians over runs, because a single run may have waited for the processor. ``layer``:
    an operator's name → the module that it comes from."""
    keys = dict.fromkeys(key for run in runs for key in run.operators)
    nothing = (0.0, 0)
    rows = []
    for name, op in keys:
        found = [run.operators.get((name, op), nothing) for run in runs]
        time, calls = median(us for us, _ in found), median(count for _, count in found)
        rows.append({"name": name or op, "op": op, "time_us": time, "calls": calls, "layer": layer(name)})
    return {"operators": rows, "run_us": median(run.us for run in runs), "batch": batch, "describe": dict(describe)}
