"""Parameters of the metrics of running."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Count, Meta, Params, Positive

__all__ = ["Latency", "Load", "Memory", "Roofline", "Throughput"]

_Batch = Annotated[Positive, Meta(description="samples per run, if the model's batch axis is dynamic")]
_Axes = Annotated[
    dict[str, Positive], Meta(description="dynamic axis → size; others are 16, or 64 or 224 if that is refused")
]
_Seed = Annotated[Count, Meta(description="seed of the random inputs")]
_Warmup = Annotated[int, Meta(ge=1, le=10_000, description="warm-up runs, which do not count")]


class Latency(Params):
    """How a run is timed."""

    batch: _Batch = 1
    axes: _Axes = {}
    sessions: Annotated[int, Meta(ge=4, le=100, description="number of sessions; each loads the models again")] = 8
    blocks: Annotated[int, Meta(ge=5, le=10_000, description="largest number of blocks of runs")] = 400
    seconds: Annotated[
        float, Meta(gt=0, le=600, description="seconds to measure; up to twice as many if it is noisy")
    ] = 2.0
    warmup: Annotated[_Warmup, Meta(description="warm-up runs in each session, which do not count")] = 5
    seed: _Seed = 0


class Throughput(Params):
    """The batch sizes at which runs are timed."""

    batches: Annotated[tuple[Positive, ...], Meta(min_length=1, description="batch sizes to try")] = (1, 8, 64)
    axes: _Axes = {}
    seconds: Annotated[
        float, Meta(gt=0, le=600, description="seconds to measure each size; up to twice as many if it is noisy")
    ] = 0.5
    warmup: _Warmup = 3
    seed: _Seed = 0


class Load(Params):
    """How often the artifact is loaded."""

    repeat: Annotated[int, Meta(ge=1, le=1000, description="loads that count, after one that does not")] = 5


class Memory(Params):
    """What runs while memory is measured."""

    batch: _Batch = 1
    axes: _Axes = {}
    runs: Annotated[int, Meta(ge=1, le=10_000, description="runs after loading")] = 3


class Roofline(Params):
    """What runs, and how long it and the machine's ceilings are measured."""

    batch: _Batch = 1
    axes: _Axes = {}
    seconds: Annotated[
        float, Meta(gt=0, le=600, description="seconds to measure the run, and again to measure the ceilings")
    ] = 1.0
    warmup: _Warmup = 3
    seed: _Seed = 0
