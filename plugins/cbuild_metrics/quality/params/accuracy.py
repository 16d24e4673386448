"""Parameters of the metrics that compare classes with labels."""

from __future__ import annotations

from compressbuild.api import Params

from ...answers.fields import Ignored, OutputName

__all__ = ["Accuracy"]


class Accuracy(Params):
    """Which output is compared with the labels, and which labels count."""

    output: OutputName = None
    ignore: Ignored = -100
