"""Parameters of the metrics of size and cost."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params, Positive

__all__ = ["Compressed", "Shapes"]


class Compressed(Params):
    """How the files are packed."""

    method: Annotated[
        Literal["zlib", "bz2", "lzma"], Meta(description="compressor; each file is compressed on its own")
    ] = "zlib"


class Shapes(Params):
    """The sizes that a model's cost is counted for: one sample, and its other dynamic axes."""

    axes: Annotated[
        dict[str, Positive], Meta(description="dynamic axis → size; others are 16, or 64 or 224 if that is refused")
    ] = {}
