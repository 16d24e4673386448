"""What a profiler is asked, and what it answers."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .params import Meta, Params

__all__ = ["Operator", "Profile", "Profiling"]


class Profiling(Params, frozen=True, kw_only=True):
    """How an artifact is run under its runtime's profiler."""

    batch: Annotated[int, Meta(ge=1, description="samples per run, if the model's batch axis is dynamic")] = 1
    axes: Annotated[dict[str, Annotated[int, Meta(ge=1)]], Meta(description="dynamic axis → size")] = {}
    repeats: Annotated[int, Meta(ge=1, le=100_000, description="runs that are counted")] = 50
    warmup: Annotated[int, Meta(ge=0, le=100_000, description="warm-up runs, which are not counted")] = 5
    seed: Annotated[int, Meta(ge=0, description="seed of the random inputs")] = 0


class Operator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One operator as the runtime executes it. ``name``: of this one in the graph, or the same as ``op`` where the
    runtime does not tell them apart; ``op``: its type, as the runtime calls it. ``time_us``: microseconds of its own in
    one run, the median or mean over runs; ``calls``: in one run. ``layer``: the module of the source that it comes
    from, ``blocks.0.conv1``; empty where that is not known."""

    name: str
    op: str
    time_us: Annotated[float, Meta(ge=0)]
    calls: Annotated[float, Meta(ge=0)] = 1.0
    layer: str = ""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a profiler function returns. ``run_us``: microseconds of a whole run under the profiler, the median over
    runs; what the operators do not account for is the runtime's own. ``batch``: samples in a run."""

    operators: tuple[Operator, ...]
    run_us: Annotated[float, Meta(ge=0)]
    batch: int
    describe: dict[str, str | int | float | bool | None] = {}
