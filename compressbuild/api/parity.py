"""Settings that every backend with a parity check shares."""

from __future__ import annotations

from typing import Annotated

from .params import DatasetRef, Meta, Params

__all__ = ["Parity"]


class Parity(Params, frozen=True):
    """How far a compiled model may be from what it was compiled from, on samples of ``data`` and on seeded inputs.
    Beyond it, compiling fails.

    Tolerances left out are those of the model's precision (docs/backends.md). ``axes``: the sizes at which a dynamic
    axis is tried, ``{batch: [1, 64], tokens: [8, 128]}``; without, the first axis is tried at 1, 3 and 16, others at 1,
    7, 16 and 96. A size that the source itself does not take is passed over.
    """

    check: Annotated[bool, Meta(description="false: compile without comparing")] = True
    max_error: (
        Annotated[float, Meta(gt=0, description="largest difference, over the largest magnitude of the output")] | None
    ) = None
    cosine: Annotated[float, Meta(gt=0, le=1, description="least cosine similarity of an output")] | None = None
    sqnr_db: Annotated[float, Meta(description="least signal-to-noise ratio of an output, in dB")] | None = None
    axes: Annotated[
        dict[str, Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1, max_length=8)]],
        Meta(description="dynamic axis → the sizes it is tried at"),
    ] = {}
    data: Annotated[DatasetRef | None, Meta(description="samples to compare on, beside made-up inputs")] = None
    samples: Annotated[int, Meta(ge=1, le=100_000, description="how many of 'data'")] = 64
