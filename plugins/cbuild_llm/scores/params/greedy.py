"""Parameters of comparing what two language models write."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, Params, Positive

from ..fields import Source, Tokens

__all__ = ["Greedy"]


class Greedy(Params):
    """Let a language model and its source continue the same prompts, each on its own."""

    tokens: Tokens
    source: Source
    prompts: Annotated[Positive, Meta(description="how many prompts, evenly over `tokens`")] = 8
    prompt: Annotated[Positive, Meta(description="tokens of a prompt")] = 64
    generate: Annotated[Positive, Meta(description="tokens that are generated after each")] = 32
