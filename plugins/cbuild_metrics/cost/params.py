"""Parameters of the metrics of size and cost."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import (
    Meta,
    Params,
)

__all__ = ["Compressed", "Shapes"]

_Sizes = dict[str, Annotated[int, Meta(ge=1)]]


class Compressed(Params):
    """How the files are packed."""

    method: Literal["zlib", "bz2", "lzma"] = "zlib"


class Shapes(Params):
    """The sizes that a model's cost is counted for: one sample, and its other dynamic axes."""

    axes: Annotated[_Sizes, Meta(description="dynamic axis → size; 16 unless named")] = {}
