"""Parameters of quantizing the weights of a language model."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, ModelRef, Params, Positive, parsed_size

__all__ = ["QuantizeLlm"]


class QuantizeLlm(Params):
    """Store the weights of a language model's linear layers as integers of 4 or 8 bits, in a directory that
    transformers loads.
    """

    method: Annotated[
        Literal["rtn", "gptq", "awq", "auto-round"],
        Meta(
            description="`rtn`: to the nearest; `gptq`: weights make up for the errors of those before them; `awq`: "
            "channels with large inputs get a finer grid; `auto-round`: rounding and ranges are tuned; all but "
            "`rtn` need `tokens`"
        ),
    ] = "rtn"
    bits: Annotated[Literal[4, 8], Meta(description="bits of a weight; with `budget`, the fewest")] = 4
    group_size: Annotated[
        int, Meta(ge=8, le=4096, description="weights of a row, neighbours along the input, that share a scale")
    ] = 32
    symmetric: Annotated[
        bool, Meta(description="a group has a scale alone; `false`: a zero point as well, in `gptq` and `awq`")
    ] = True
    format: Annotated[
        Literal["compressed-tensors", "gptq", "awq"],
        Meta(description="how the integers lie in the files; `awq` has 4 bits only"),
    ] = "compressed-tensors"
    budget: Annotated[
        str | None,
        Meta(
            description="most bytes of the directory, `60 MB`: each layer has 4 bits, 8, or stays in float, as it is "
            "sensitive on `tokens`"
        ),
    ] = None
    tokens: Annotated[
        ModelRef | None,
        Meta(description="target that made token ids with `tokenize.text`; `rtn` without `budget` needs none"),
    ] = None
    windows: Annotated[Positive, Meta(description="how many windows of `tokens` are used, spread over all")] = 32
    iterations: Annotated[Positive, Meta(description="steps of `auto-round` in each decoder layer")] = 200
    ignore: Annotated[
        tuple[str, ...], Meta(description='globs of the linear layers that stay in float: `["*.down_proj"]`')
    ] = ()

    def __post_init__(self) -> None:
        if self.budget is not None:
            parsed_size(self.budget)
        if self.method != "rtn" and self.tokens is None:
            raise ValueError(f"`method: {self.method}` works on token ids: add `tokens: TARGET`, or take `method: rtn`")
        if self.budget is not None and self.tokens is None:
            raise ValueError("`budget` measures on token ids how sensitive layers are: add `tokens: TARGET`")
        if self.format == "awq" and self.bits != 4:
            raise ValueError("`format: awq` holds 4 bits only: take `bits: 4`, or another `format`")
        if self.format == "compressed-tensors" and not self.symmetric:
            raise ValueError(
                "transformers 5.23 loads no compressed-tensors with packed zero points: take `format: awq` or `gptq`"
            )
        if self.format == "gptq" and self.bits == 8 and not self.symmetric:
            raise ValueError("no server reads GPTQ of 8 bits with zero points: take `symmetric: true`, or `bits: 4`")
