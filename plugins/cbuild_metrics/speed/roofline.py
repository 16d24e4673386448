"""How close a run comes to the limits of this machine: the roofline model.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures",
CACM 2009. A run takes at least the time for its operations at the machine's arithmetic, and that for its bytes at the
machine's bandwidth. Bytes are the compulsory traffic: weights, inputs and outputs once each, and nothing in between.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbuild_kit import fitting

from compressbuild.api import Context, UserError

from .ceilings import BEYOND_CACHE, arithmetic, bandwidth
from .params import Latency, Roofline
from .timing import Timed, measure

__all__ = ["roofline"]

_PROCESSOR = re.compile(r"cpu(_only|executionprovider)?", re.IGNORECASE)


def roofline(ctx: Context, subject: Path, params: Roofline) -> dict[str, Any]:
    """``{"value": share of the roof that is reached, "bound": "memory" or "compute", "latency": ms, "flops", "bytes",
    "intensity": FLOP a byte, "rates": {"GFLOP/s", "GB/s", "GB/s of main memory": {"achieved", "ceiling", "share"}},
    "arithmetic": {"float32", "bfloat16", "int8": {"flops", "ceiling": GFLOP/s, "by": what reached it}}, "traffic":
    {"weights", "inputs", "outputs": bytes}, "threads", "batch", "describe"}``.

    The ceiling of ``GB/s`` is that of reading as many bytes as the run does: what fits in a cache is held against the
    cache (Ilic, Pratas and Sousa, "Cache-aware roofline model", 2014). That of ``GFLOP/s`` is for the mixture of
    ``arithmetic``: all operations over the least time that they take, each at the ceiling of its own type.
    """
    runner = ctx.runner("subject")
    described = runner.describe()
    _check_processor(described)
    threads = _threads(described)
    sample = fitting(runner.inputs, params.axes, runner, batch=params.batch, seed=params.seed)
    work = _work(ctx, params.axes, sample.batch, _floats(described))
    traffic = {"weights": work.weights, "inputs": _bytes(sample.feeds), "outputs": _bytes(runner(sample.feeds))}
    flops = {kind: 2 * count * sample.batch for kind, count in work.macs.items()}
    total, moved = sum(flops.values()), sum(traffic.values())
    kinds = {kind: arithmetic(kind, threads) for kind in flops or ("float32",)}
    near, far = bandwidth(moved, threads), bandwidth(BEYOND_CACHE, threads)
    ctx.progress(1, 4)

    def measure_ceilings() -> None:
        """Half of the time before the run and half after: a neighbour may disturb one of them."""
        for ceiling in (near, far, *kinds.values()):
            ceiling.measure(params.seconds / 2 / (2 + len(kinds)))

    measure_ceilings()
    ctx.progress(2, 4)
    timed = measure(
        lambda: [Timed(lambda: runner(sample.feeds))],
        Latency(seconds=params.seconds, warmup=params.warmup),
        time.perf_counter,
    )
    seconds = timed.time().value
    ctx.progress(3, 4)
    measure_ceilings()
    ctx.progress(4, 4)
    least = sum(count / kinds[kind].rate for kind, count in flops.items())  # seconds
    most = total / least if total else max(ceiling.rate for ceiling in kinds.values())
    rates = {
        "GFLOP/s": _rate(total / seconds, most),
        "GB/s": _rate(moved / seconds, near.rate),
        "GB/s of main memory": _rate(moved / seconds, far.rate),
    }
    compute, memory = rates["GFLOP/s"]["share"], rates["GB/s"]["share"]
    return {
        "value": max(compute, memory),
        "bound": "compute" if compute > memory else "memory",
        "latency": 1000 * seconds,
        "flops": total,
        "bytes": moved,
        "intensity": total / moved,
        "rates": rates,
        "arithmetic": {
            kind: {"flops": flops.get(kind, 0), "ceiling": ceiling.rate / 1e9, "by": ceiling.by}
            for kind, ceiling in kinds.items()
        },
        "traffic": traffic,
        "threads": threads,
        "batch": sample.batch,
        **({"axes": dict(sample.axes)} if sample.axes else {}),
        **({"uncounted": list(work.uncounted)} if work.uncounted else {}),
        "noisy": timed.is_noisy,
        "describe": described,
    }


@dataclass(frozen=True, slots=True)
class _Work:
    """``macs``: multiply-accumulates of one sample by the type they are of; ``weights``: bytes that a run reads;
    ``uncounted``: operators whose work is not known."""

    macs: Mapping[str, int]
    weights: int
    uncounted: Sequence[str] = ()


def _work(ctx: Context, axes: Mapping[str, int], batch: int, floats: str) -> _Work:
    """What the model asks for. ``floats``: the type in which the runtime computes what is not of integers."""
    census = ctx.census("model")
    macs = census.macs(axes)
    named = {floats if kind == "float" else kind: value for kind, value in macs.by_type.items()}
    return _Work(named, census.traffic(axes, batch), macs.uncounted)


def _floats(described: Mapping[str, Any]) -> str:
    """The type of float arithmetic that a runtime says it uses; what is wider or not said counts as float32."""
    return "bfloat16" if described.get("precision") in ("bf16", "bfloat16") else "float32"


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
                f"the roofline is that of this machine's processor, but the artifact runs on {place}",
                hint="give this target an 'evaluate:' of its own, without 'roofline'",
            )
