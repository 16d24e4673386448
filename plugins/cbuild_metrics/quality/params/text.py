"""Parameters of the metrics of text."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import FunctionRef, Meta, Params

from ...answers.fields import Ignored, OutputName

__all__ = ["Text"]


class Text(Params):
    """How token numbers become text, and which are left out."""

    decode: Annotated[FunctionRef, Meta(description="your function, `f(token numbers of one sample)` → text")]
    output: OutputName = None
    ignore: Ignored = -100
