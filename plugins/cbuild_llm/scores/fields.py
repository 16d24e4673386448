"""Parameters that the metrics of language models share."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, ModelRef

__all__ = ["Source", "Tokens"]

Tokens = Annotated[ModelRef, Meta(description="the target that made the token ids, with `tokenize.text`")]
Source = Annotated[ModelRef, Meta(description="the model that is compared with, as it was before compression")]
