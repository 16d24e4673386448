"""Parameters of asking a language model multiple-choice questions."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, ModelRef, Params

__all__ = ["Choice"]


class Choice(Params):
    """Ask a language model multiple-choice questions, and take the likeliest choice."""

    questions: Annotated[ModelRef, Meta(description="the target that made the questions, with `tokenize.choices`")]
    normalized: Annotated[
        bool,
        Meta(description="whether the likelihood counts per character of a choice, so that long ones have a chance"),
    ] = False
