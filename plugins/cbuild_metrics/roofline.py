"""How near a run comes to what this machine can do at most: the roofline model.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures",
CACM 2009. A run takes at least the time for its operations at the machine's arithmetic, and that for its bytes at the
machine's bandwidth. Bytes are the compulsory traffic: weights, inputs and outputs once each, and nothing in between.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressbuild.api import Context, UserError

from . import Latency, Roofline
from .ceilings import BEYOND_CACHE, arithmetic, bandwidth
from .feeds import example, model_inputs
from .timing import Timed, measure

__all__ = ["roofline"]

_PROCESSOR = re.compile(r"cpu(_only|executionprovider)?", re.IGNORECASE)


def roofline(ctx: Context, subject: Path, params: Roofline) -> dict[str, Any]:
    """``{"value": share of the roof that is reached, "bound": "memory" or "compute", "latency": ms, "flops", "bytes",
    "intensity": FLOP a byte, "rates": {"GFLOP/s", "GB/s", "GB/s of main memory": {"achieved", "ceiling", "share"}},
    "traffic": {"weights", "inputs", "outputs": bytes}, "threads", "batch", "describe"}``.

    The ceiling of ``GB/s`` is that of reading as many bytes as the run does: what fits in a cache is held against the
    cache (Ilic, Pratas and Sousa, "Cache-aware roofline model", 2014). That of ``GFLOP/s`` is of float32.
    """
    runner = ctx.runner("subject")
    described = runner.describe()
    _check_processor(described)
    threads = _threads(described)
    sample = example(model_inputs(runner), params.axes, batch=params.batch, seed=params.seed)
    traffic = {"inputs": _bytes(sample.feeds), "outputs": _bytes(runner(sample.feeds))}
    timed = measure(
        lambda: [Timed(lambda: runner(sample.feeds))],
        Latency(seconds=params.seconds, warmup=params.warmup),
        time.perf_counter,
    )
    seconds = timed.time().value
    ctx.progress(1, 3)
    # After the run was timed: this may import torch, and read much memory.
    counted, weights = _work(ctx, params.axes, sample.batch)
    traffic = {"weights": weights} | traffic
    ctx.progress(2, 3)
    flops, moved = 2 * counted["value"] * sample.batch, sum(traffic.values())
    each = params.seconds / 3
    rates = {
        "GFLOP/s": _rate(flops / seconds, arithmetic(threads, each)),
        "GB/s": _rate(moved / seconds, bandwidth(moved, threads, each)),
        "GB/s of main memory": _rate(moved / seconds, bandwidth(BEYOND_CACHE, threads, each)),
    }
    ctx.progress(3, 3)
    compute, memory = rates["GFLOP/s"]["share"], rates["GB/s"]["share"]
    return {
        "value": max(compute, memory),
        "bound": "compute" if compute > memory else "memory",
        "latency": 1000 * seconds,
        "flops": flops,
        "bytes": moved,
        "intensity": flops / moved,
        "rates": rates,
        "traffic": traffic,
        "threads": threads,
        "batch": sample.batch,
        **({"axes": dict(sample.axes)} if sample.axes else {}),
        **({"uncounted": counted["uncounted"]} if "uncounted" in counted else {}),
        "noisy": timed.is_noisy,
        "describe": described,
    }


def _work(ctx: Context, axes: Mapping[str, int], batch: int) -> tuple[dict[str, Any], int]:
    """(what ``macs`` says of the model, bytes of weights that a run reads)."""
    model = ctx.artifact("model")
    if ctx.kind("model") == "torch-model":
        from .macs_torch import count
        from .traffic_torch import weights_read
    else:
        from .macs_onnx import count
        from .traffic_onnx import weights_read
    return count(ctx, model, axes), weights_read(ctx, model, axes, batch)


def _rate(achieved: float, ceiling: float) -> dict[str, float]:
    """Both in units of 10⁹ a second."""
    return {"achieved": achieved / 1e9, "ceiling": ceiling / 1e9, "share": achieved / ceiling}


def _bytes(arrays: Mapping[str, Any]) -> int:
    return sum(int(array.nbytes) for array in arrays.values())


def _threads(described: Mapping[str, Any]) -> int:
    """As many as the runtime uses, which says so; one if it does not."""
    threads = described.get("threads")
    return threads if isinstance(threads, int) and threads >= 1 else 1


def _check_processor(described: Mapping[str, Any]) -> None:
    """The ceilings are the processor's."""
    for key in ("provider", "device", "compute_units"):
        place = str(described.get(key, "cpu"))
        if not _PROCESSOR.fullmatch(place):
            raise UserError(
                f"the roofline is that of this machine's processor, and the artifact runs on {place}",
                hint="give this target an 'evaluate:' of its own, without 'roofline'",
            )
