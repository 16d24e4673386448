"""Parameters of what compares a language model with the one it was made from."""

from __future__ import annotations

from compressbuild.api import Params

from ..fields import Source, Tokens

__all__ = ["Paired"]


class Paired(Params):
    """Compare a language model with its source, token by token."""

    tokens: Tokens
    source: Source
