"""Parameters of the metrics that each class has a score of."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params

from ...answers.fields import Ignored, OutputName

__all__ = ["Averaged"]


class Averaged(Params):
    """As for accuracy, and how the classes' scores become one."""

    output: OutputName = None
    ignore: Ignored = -100
    average: Annotated[
        Literal["macro", "micro", "weighted"],
        Meta(
            description="`macro`: mean over classes; `micro`: over samples; `weighted`: over classes, by how often "
            "each occurs"
        ),
    ] = "macro"
