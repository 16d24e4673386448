"""Parameters of recording a teacher's logits."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, ModelRef, Params, Positive, Rate

from .fields import Packing

__all__ = ["RecordLogits"]


class RecordLogits(Params):
    """Record what a language model expects after each token, as a teacher for `distill.llm`."""

    tokens: Annotated[ModelRef, Meta(description="target that made token ids with `tokenize.text`")]
    top: Annotated[Positive, Meta(description="how many of the likeliest tokens are kept; the others become one")] = 64
    temperature: Annotated[Rate, Meta(description="temperature T, which softens teacher and student")] = 1.0
    packing: Packing = "stream"
