"""Parameters of zeroing weights of a language model."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, ModelRef, Params, Positive, Ratio

__all__ = ["PruneLlmWeights"]


class PruneLlmWeights(Params):
    """Zero the weights of a language model's linear layers that matter least on token ids, by Wanda or SparseGPT."""

    tokens: Annotated[ModelRef, Meta(description="target that made token ids with `tokenize.text`")]
    method: Annotated[
        Literal["wanda", "sparsegpt"],
        Meta(
            description="`wanda`: the weights that stay are as they were; `sparsegpt`: they make up for those that go, "
            "which takes longer"
        ),
    ] = "wanda"
    pattern: Annotated[
        Literal["rows", "2:4", "4:8"],
        Meta(
            description="`rows`: any weights of each row, or for `sparsegpt` of each 128 columns; `2:4`: two of every "
            "four neighbours along the input; `4:8`"
        ),
    ] = "rows"
    sparsity: Annotated[
        Ratio | None,
        Meta(description="share of these that becomes zero; by default 0.5, and fixed by `2:4` and `4:8`"),
    ] = None
    windows: Annotated[Positive, Meta(description="how many windows of `tokens` are used, spread over all")] = 32
    ignore: Annotated[
        tuple[str, ...], Meta(description='globs of the linear layers that stay as they are: `["*.down_proj"]`')
    ] = ()

    def __post_init__(self) -> None:
        if self.sparsity is not None and self.pattern != "rows":
            raise ValueError(f"`sparsity` is given by `pattern: {self.pattern}`: leave it out")
