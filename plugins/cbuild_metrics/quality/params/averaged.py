"""Parameters of the metrics with a score for each class."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params

from ...answers.fields import Ignored, OutputName

__all__ = ["Averaged"]


class Averaged(Params):
    """As for accuracy, and how the scores of the classes are averaged."""

    output: OutputName = None
    ignore: Ignored = -100
    average: Annotated[
        Literal["macro", "micro", "weighted"],
        Meta(
            description="`macro`: mean over classes; `micro`: over samples; `weighted`: over classes, by how often "
            "each occurs"
        ),
    ] = "macro"
