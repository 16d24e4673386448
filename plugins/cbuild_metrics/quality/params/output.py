"""Parameters of the metrics that compare numbers."""

from __future__ import annotations

from compressbuild.api import Params

from ...answers.fields import OutputName

__all__ = ["Output"]


class Output(Params):
    """Which output is judged."""

    output: OutputName = None
