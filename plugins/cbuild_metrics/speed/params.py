"""Parameters of the metrics of running."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Count, Meta, Params, Positive

__all__ = ["Latency", "Load", "Memory", "Roofline", "Throughput"]

_Batch = Annotated[Positive, Meta(description="samples in a run, where the model leaves it open")]
_Axes = Annotated[dict[str, Positive], Meta(description="dynamic axis → size; an axis that is not named is 16")]
_Seed = Annotated[Count, Meta(description="seed of the random inputs")]
_Warmup = Annotated[int, Meta(ge=1, le=10_000, description="runs before the first that counts")]


class Latency(Params):
    """How a run is timed."""

    batch: _Batch = 1
    axes: _Axes = {}
    sessions: Annotated[int, Meta(ge=4, le=100, description="how often the models are loaded again")] = 8
    blocks: Annotated[int, Meta(ge=5, le=10_000, description="most blocks of runs that are compared")] = 400
    seconds: Annotated[
        float, Meta(gt=0, le=600, description="seconds to measure; up to twice as many if it is noisy")
    ] = 2.0
    warmup: Annotated[_Warmup, Meta(description="runs before the first that counts, in each session")] = 5
    seed: _Seed = 0


class Throughput(Params):
    """At which batch sizes runs are timed."""

    batches: Annotated[tuple[Positive, ...], Meta(min_length=1, description="batch sizes to try")] = (1, 8, 64)
    axes: _Axes = {}
    seconds: Annotated[
        float, Meta(gt=0, le=600, description="seconds to measure each size; up to twice as many if it is noisy")
    ] = 0.5
    warmup: _Warmup = 3
    seed: _Seed = 0


class Load(Params):
    """How often the artifact is loaded."""

    repeat: Annotated[int, Meta(ge=1, le=1000, description="loads that count; one more comes before them")] = 5


class Memory(Params):
    """What runs while memory is watched."""

    batch: _Batch = 1
    axes: _Axes = {}
    runs: Annotated[int, Meta(ge=1, le=10_000, description="runs after loading")] = 3


class Roofline(Params):
    """What is run, and how long it and the machine's ceilings are measured."""

    batch: _Batch = 1
    axes: _Axes = {}
    seconds: Annotated[
        float, Meta(gt=0, le=600, description="seconds to measure the run, and again to measure the ceilings")
    ] = 1.0
    warmup: _Warmup = 3
    seed: _Seed = 0
