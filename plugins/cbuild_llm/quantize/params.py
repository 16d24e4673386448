"""Parameters of quantizing the weights of a language model."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, ModelRef, Params, Positive

__all__ = ["QuantizeLlm"]


class QuantizeLlm(Params):
    """Store the weights of a language model's linear layers as integers of 4 or 8 bits, in a directory that
    transformers loads.
    """

    method: Annotated[
        Literal["rtn", "auto-round"],
        Meta(description="`rtn`: to the nearest; `auto-round`: rounding and ranges are tuned on `tokens`"),
    ] = "rtn"
    bits: Annotated[Literal[4, 8], Meta(description="bits of a weight")] = 4
    group_size: Annotated[
        int, Meta(ge=8, le=4096, description="weights of a row, neighbours along the input, that share a scale")
    ] = 32
    tokens: Annotated[
        ModelRef | None, Meta(description="target that made token ids with `tokenize.text`; `auto-round` needs it")
    ] = None
    windows: Annotated[Positive, Meta(description="how many windows of `tokens` are used, spread over all")] = 32
    iterations: Annotated[Positive, Meta(description="steps of `auto-round` in each decoder layer")] = 200
    ignore: Annotated[
        tuple[str, ...], Meta(description='globs of the linear layers that stay in float: `["*.down_proj"]`')
    ] = ()

    def __post_init__(self) -> None:
        if self.method == "auto-round" and self.tokens is None:
            raise ValueError("`method: auto-round` tunes on token ids: add `tokens: TARGET`, or take `method: rtn`")
