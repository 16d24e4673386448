"""Settings of the vLLM backend."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params

__all__ = ["VllmSettings"]


class VllmSettings(Params):
    """Publish a directory that vLLM serves."""

    dtype: Annotated[
        Literal["as-is", "bfloat16", "float16"],
        Meta(
            description="type of the weights that are not packed: `as-is`, or converted; vLLM computes in it unless "
            "its own options say otherwise"
        ),
    ] = "as-is"
