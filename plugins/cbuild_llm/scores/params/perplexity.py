"""Parameters of a language model's perplexity."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, ModelRef, Params

from ..fields import Tokens

__all__ = ["Perplexity"]


class Perplexity(Params):
    """Perplexity on token ids, in sliding windows."""

    tokens: Tokens
    source: Annotated[
        ModelRef | None,
        Meta(
            description="the value is the same without it; name it here too where other metrics do: one pass serves all"
        ),
    ] = None
