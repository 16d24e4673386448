"""Parameters of dropping layers of a language model."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, ModelRef, Params, Positive

__all__ = ["PruneLlmLayers"]


class PruneLlmLayers(Params):
    """Drop whole decoder layers of a language model, and write a configuration that fits what stays."""

    drop: Annotated[
        tuple[int, ...] | None, Meta(description="positions of the layers that go, from 0; -1 is the last")
    ] = None
    keep: Annotated[tuple[int, ...] | None, Meta(description="positions of the layers that stay")] = None
    count: Annotated[Positive | None, Meta(description="how many layers go; `by` chooses them")] = None
    by: Annotated[
        Literal["influence", "loss", "last", "spread"],
        Meta(
            description="which layers go, with `count`: those that turn their input least (`influence`: the Block "
            "Influence of ShortGPT); those without which the `loss` on `tokens` rises least, chosen one after the "
            "other; the `last`; or those between evenly spaced ones that stay (`spread`)"
        ),
    ] = "influence"
    tokens: Annotated[
        ModelRef | None, Meta(description="target that made token ids with `tokenize.text`, for `influence` and `loss`")
    ] = None
    windows: Annotated[Positive, Meta(description="how many windows of `tokens` are used, spread over all")] = 32
