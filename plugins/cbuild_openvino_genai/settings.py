"""Settings of the OpenVINO GenAI backend."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params

__all__ = ["OpenVinoGenAiSettings"]


class OpenVinoGenAiSettings(Params):
    """Publish a directory for OpenVINO GenAI, and run it on OpenVINO."""

    precision: Annotated[
        Literal["int4", "int8", "fp32"],
        Meta(description="of the weights of linear layers; with `int4`, embedding and head have 8 bits"),
    ] = "int4"
    group_size: Annotated[
        Literal[16, 32, 64, 128], Meta(description="with `int4`: neighbouring weights of a row that share a scale")
    ] = 32
    symmetric: Annotated[bool, Meta(description="with `int4`: without zero points, which is faster and less exact")] = (
        True
    )
    ratio: Annotated[
        float,
        Meta(ge=0, le=1, description="with `int4`: share of the weights that get 4 bits; the most sensitive get 8"),
    ] = 1.0
    cache: Annotated[Literal["u8", "f16", "f32"], Meta(description="type of cached keys and values when it runs")] = (
        "u8"
    )
    threads: Annotated[int, Meta(ge=1, le=1024, description="threads when it runs on this machine")] = 1
