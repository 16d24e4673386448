"""Parameters of the metrics of running."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import (
    Meta,
    Params,
)

__all__ = ["Latency", "Load", "Memory", "Roofline", "Throughput"]

_Sizes = dict[str, Annotated[int, Meta(ge=1)]]


class Latency(Params):
    """How a run is timed."""

    batch: Annotated[int, Meta(ge=1, description="samples a run, where the model leaves it open")] = 1
    axes: Annotated[_Sizes, Meta(description="dynamic axis → size; 16 unless named")] = {}
    sessions: Annotated[int, Meta(ge=4, le=100, description="times that the models are loaded anew")] = 8
    blocks: Annotated[int, Meta(ge=5, le=10_000, description="most blocks of runs that are compared")] = 400
    seconds: Annotated[float, Meta(gt=0, le=600, description="time to measure; up to twice that if it is noisy")] = 2.0
    warmup: Annotated[int, Meta(ge=1, le=10_000, description="runs before the first that counts, in each session")] = 5
    seed: Annotated[int, Meta(ge=0, description="of the random inputs")] = 0


class Throughput(Params):
    """At which batch sizes runs are timed."""

    batches: Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=1)] = (1, 8, 64)
    axes: Annotated[_Sizes, Meta(description="dynamic axis → size; 16 unless named")] = {}
    seconds: Annotated[float, Meta(gt=0, le=600, description="for each; up to twice that if it is noisy")] = 0.5
    warmup: Annotated[int, Meta(ge=1, le=10_000)] = 3
    seed: Annotated[int, Meta(ge=0, description="of the random inputs")] = 0


class Load(Params):
    """How often the artifact is loaded."""

    repeat: Annotated[int, Meta(ge=1, le=1000, description="times that count; one more comes before them")] = 5


class Memory(Params):
    """What runs while memory is watched."""

    batch: Annotated[int, Meta(ge=1)] = 1
    axes: Annotated[_Sizes, Meta(description="dynamic axis → size; 16 unless named")] = {}
    runs: Annotated[int, Meta(ge=1, le=10_000)] = 3


class Roofline(Params):
    """What is run, and how long it and the machine's ceilings are measured."""

    batch: Annotated[int, Meta(ge=1, description="samples a run, where the model leaves it open")] = 1
    axes: Annotated[_Sizes, Meta(description="dynamic axis → size; 16 unless named")] = {}
    seconds: Annotated[float, Meta(gt=0, le=600, description="for the run, and again for the ceilings")] = 1.0
    warmup: Annotated[int, Meta(ge=1, le=10_000)] = 3
    seed: Annotated[int, Meta(ge=0, description="of the random inputs")] = 0
