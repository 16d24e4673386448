"""Parameters of making a language model narrower."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, ModelRef, Params, Positive

__all__ = ["PruneLlmWidth"]


class PruneLlmWidth(Params):
    """Remove channels, neurons and heads of a language model, as many in every layer, and write a configuration that
    fits.
    """

    tokens: Annotated[ModelRef, Meta(description="target that made token ids with `tokenize.text`")]
    hidden: Annotated[
        Positive | None, Meta(description="channels of the hidden state that stay, the same in all layers")
    ] = None
    intermediate: Annotated[Positive | None, Meta(description="neurons of each feed-forward layer that stay")] = None
    heads: Annotated[
        Positive | None, Meta(description="query heads that stay in each layer: a multiple of the heads of keys")
    ] = None
    kv_heads: Annotated[
        Positive | None, Meta(description="heads of keys and values that stay; their query heads go with them")
    ] = None
    windows: Annotated[Positive, Meta(description="how many windows of `tokens` are used, spread over all")] = 32
