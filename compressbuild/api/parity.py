"""Settings that every backend with a parity check shares."""

from __future__ import annotations

from typing import Annotated

from .numbers import Positive, Rate
from .params import DatasetRef, Meta, Params

__all__ = ["Parity", "ParityCheck"]


class Parity(Params, frozen=True):
    """How far a compiled model may be from what it was compiled from, on samples of ``data`` and on seeded inputs.
    Beyond it, compiling fails.

    Tolerances left out are those of the model's precision (docs/backends.md). Without ``axes`` the first axis is tried
    at 1, 3 and 16, others at 1, 7, 16 and 96. Sizes that the source itself does not take are skipped.
    """

    check: Annotated[bool, Meta(description="false: compile without comparing")] = True
    max_error: Annotated[
        Rate | None, Meta(description="largest difference allowed, over the largest magnitude of the output")
    ] = None
    cosine: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None, Meta(description="least cosine similarity allowed of an output")
    ] = None
    sqnr_db: Annotated[
        float | None, Meta(description="least signal-to-noise ratio allowed of an output, in decibels")
    ] = None
    axes: Annotated[
        dict[str, Annotated[list[Positive], Meta(min_length=1, max_length=8)]],
        Meta(description="dynamic axis → the sizes at which it is tried, as `{batch: [1, 64], tokens: [8, 128]}`"),
    ] = {}
    data: Annotated[DatasetRef | None, Meta(description="dataset to compare on, besides generated inputs")] = None
    samples: Annotated[int, Meta(ge=1, le=100_000, description="how many samples of `data` are compared")] = 64


ParityCheck = Annotated[
    Parity, Meta(description="how far the compiled model may be from its source before compiling fails")
]
"""The type of a backend's setting ``parity``."""
