"""Latency, in turns with a baseline's, over several sessions (see :mod:`.timing`)."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import example, fitting

from compressbuild.api import Context, ModelInput

from .params import Latency
from .timing import Sample, Timed, measure

__all__ = ["latency"]


def latency(ctx: Context, subject: Path, params: Latency) -> dict[str, Any]:
    """``{"value": ms, "low", "high": its 95 % interval, "p95", "p99": of all runs, "samples": runs, "sessions",
    "blocks": that count, "disturbed": blocks that do not, "waited": runs that lost the processor, "spread", "noisy",
    "batch", "describe", …}``.

    With a baseline also ``{"baseline": {"value": ms, "describe"}, "ratio", "ratio_low", "ratio_high",
    "session_ratios"}``, where a ratio below 1 is faster and the interval is of 95 %; a baseline that cannot be loaded
    or run leaves ``{"baseline": {"error": …}}``.
    """
    sessions = _Sessions(ctx, params)
    sample = measure(sessions.open, params, time.perf_counter, lambda done: ctx.progress(done, 1.0))
    found = _summary(sample) | {"batch": sessions.batches["subject"], "describe": sessions.described["subject"]}
    found["throughput"] = 1000 * sessions.batches["subject"] / found["value"] if found["value"] else 0.0
    if sessions.axes:
        found["axes"] = sessions.axes
    if sample.models > 1:
        ratio = sample.ratio()
        found["baseline"] = {
            "value": 1000 * sample.time(1).value,
            "describe": sessions.described["baseline"],
        }
        found |= {"ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high}
        found["session_ratios"] = sample.session_ratios()
    elif sessions.error is not None:
        found["baseline"] = {"error": sessions.error}
    return found


def _summary(sample: Sample) -> dict[str, Any]:
    value, runs = sample.time(), 1000 * np.asarray(sample.runs[0])
    return {
        "value": 1000 * value.value,
        "low": 1000 * value.low,
        "high": 1000 * value.high,
        "p95": float(np.percentile(runs, 95)),
        "p99": float(np.percentile(runs, 99)),
        "samples": len(runs),
        "sessions": sample.sessions,
        "blocks": int(sample.counted().sum()),
        "disturbed": int((~sample.undisturbed()).sum()),
        "waited": sample.waited,
        "spread": sample.spread(),
        "noisy": sample.is_noisy,
    }


class _Sessions:
    """Loads the subject and its baseline for each session. ``error``: why the baseline is left out."""

    def __init__(self, ctx: Context, params: Latency) -> None:
        self._ctx, self._params = ctx, params
        self._random = np.random.default_rng()
        self._scattered: list[Any] = []
        self._roles = ["subject", "baseline"] if ctx.has("baseline") else ["subject"]
        self.described: dict[str, Any] = {}
        self.axes: dict[str, int] = {}
        self.batches: dict[str, int] = {}
        self._sizes: dict[str, Mapping[str, int]] = {}
        self.error: str | None = None

    def open(self) -> list[Timed]:
        """The models loaded again, in random order, to other places in memory."""
        gc.collect()  # what the last session held
        self._scatter()
        if not self.described:
            loaded = {"subject": self._load("subject")}
            if "baseline" in self._roles and (base := self._baseline()) is not None:
                loaded["baseline"] = base
            self._roles = list(loaded)
        else:
            loaded = {self._roles[at]: self._load(self._roles[at]) for at in self._random.permutation(len(self._roles))}
        return [Timed(loaded[role]) for role in self._roles]

    def _scatter(self) -> None:
        """Take and give back memory of random sizes, so that weights and buffers come to lie elsewhere."""
        blocks = [np.empty(size, np.uint8) for size in self._random.integers(1, 1 << 18, 32)]
        self._scattered = blocks[::2]

    def _load(self, role: str) -> Any:
        runner = self._ctx.runner(role)
        params = self._params
        fits = {"batch": params.batch, "seed": params.seed}
        if (known := self._sizes.get(role)) is not None:
            sample = example(runner.inputs, known, **fits)
        else:
            sample = fitting(runner.inputs, self._asked(runner.inputs), runner, **fits)
            self._sizes[role] = sample.axes
        self.batches[role] = sample.batch
        if role == "subject":
            self.axes = dict(sample.axes)
        self.described[role] = runner.describe()
        return lambda: runner(sample.feeds)

    def _asked(self, inputs: Sequence[ModelInput]) -> dict[str, int]:
        """Sizes of axes: those that the subject runs with are those of its baseline, too."""
        own = {axis for item in inputs for axis in item.shape}
        return {**self._params.axes, **{axis: size for axis, size in self.axes.items() if axis in own}}

    def _baseline(self) -> Any:
        try:
            run = self._load("baseline")
            run()
        except Exception as error:  # noqa: BLE001 (another backend's code: whatever it raises, the subject is still measured)
            self._ctx.log.warning("the baseline cannot be measured: %s", error)
            self.error = f"the baseline cannot be measured: {error}"
            return None
        own, other = self.batches["subject"], self.batches["baseline"]
        if own != other:
            self.error = f"the baseline takes batches of {other}, but this model of {own}: they cannot be compared"
            return None
        return run
