"""Parameters of the metrics that compare classes with labels."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, Params

from ...answers.fields import Ignored, OutputName

__all__ = ["Accuracy", "Perplexity"]


class Accuracy(Params):
    """Which output is compared with the labels, and which labels count."""

    output: OutputName = None
    ignore: Ignored = -100


class Perplexity(Accuracy):
    """Which output is compared with the labels, which labels count, and where a label stands."""

    shift: Annotated[
        bool,
        Meta(
            description="labels are the tokens themselves, as Hugging Face has them: each position is compared with "
            "the next one's label"
        ),
    ] = False
