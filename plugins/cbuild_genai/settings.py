"""Settings of the ONNX Runtime GenAI backend."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params

__all__ = ["GenAiSettings"]


class GenAiSettings(Params):
    """Publish a directory for ONNX Runtime GenAI, and run it there."""

    precision: Annotated[
        Literal["int4", "int8", "fp32"],
        Meta(description="of the weights of linear layers and the head; `int4`: of a tied embedding, too"),
    ] = "int4"
    method: Annotated[
        Literal["rtn", "k-quant"],
        Meta(description="how weights are rounded: to the nearest, or with ranges fitted as llama.cpp's K-quants are"),
    ] = "rtn"
    mixed: Annotated[
        bool,
        Meta(
            description="with `int4`: 8 bits for the head, and for the layers that llama.cpp finds most sensitive: the "
            "first and last eighth, and every third"
        ),
    ] = False
    group_size: Annotated[
        Literal[16, 32, 64, 128, 256], Meta(description="neighbouring weights of a row that share a scale")
    ] = 32
    activations: Annotated[
        Literal["int8", "float32"],
        Meta(description="what products with integer weights are computed in: `int8` is faster, and less exact"),
    ] = "int8"
    threads: Annotated[int, Meta(ge=1, le=1024, description="threads when it runs on this machine")] = 1

    def __post_init__(self) -> None:
        if self.mixed and self.precision != "int4":
            raise ValueError("`mixed: true` gives some layers 8 bits in place of 4: it needs `precision: int4`")
