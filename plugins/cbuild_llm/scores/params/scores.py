"""Parameters of the pass over token ids."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, ModelRef, Params

from ..fields import Tokens

__all__ = ["TokenScores"]


class TokenScores(Params):
    """Run a language model over token ids, and keep some numbers for each token."""

    tokens: Tokens
    source: Annotated[
        ModelRef | None, Meta(description="a second model, which runs on the same windows and is compared with")
    ] = None
