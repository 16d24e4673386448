"""Settings of the LiteRT backend."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, Params, Parity, ParityCheck

__all__ = ["LiteRtSettings"]


class LiteRtSettings(Params):
    """Run on LiteRT."""

    threads: Annotated[int, Meta(ge=1, le=1024, description="threads when it runs on this machine")] = 1
    xnnpack: Annotated[
        bool,
        Meta(description="run operators on XNNPACK; false: on LiteRT's own kernels, as where XNNPACK is not built in"),
    ] = True
    parity: ParityCheck = Parity()
