"""Parameters of timing a language model that generates."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, Params, Positive

from ..scores.fields import Tokens

__all__ = ["Generating"]


class Generating(Params):
    """Time a language model on one prompt, alone on the machine."""

    tokens: Tokens
    prompt: Annotated[Positive, Meta(description="tokens of the prompt, the first of `tokens`")] = 128
    generate: Annotated[int, Meta(ge=2, le=10_000, description="tokens that are generated after it")] = 64
    repeat: Annotated[int, Meta(ge=3, le=1000, description="runs that count, after one that does not")] = 5
