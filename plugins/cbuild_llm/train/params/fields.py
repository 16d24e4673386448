"""What every training of a language model takes."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Amount, Meta, ModelRef, Params, Positive, Rate, Ratio

__all__ = ["LlmTraining", "Packing"]

Packing = Annotated[
    Literal["stream", "documents"],
    Meta(
        description="`stream`: tokens see all before them in their window, also of another document; `documents`: "
        "only those of their own, at positions that start again with it, which takes `ends: true` of `tokenize.text`"
    ),
]


class LlmTraining(Params, kw_only=True):
    """Training on token ids."""

    tokens: Annotated[
        ModelRef,
        Meta(description="target that made token ids with `tokenize.text`; give it a `stride` equal to its `context`"),
    ]
    epochs: Annotated[Positive, Meta(description="passes over the tokens")] = 1
    lr: Annotated[Rate, Meta(description="peak learning rate")] = 1e-4
    batch_size: Annotated[Positive, Meta(description="windows that are in memory at once")] = 4
    accumulate: Annotated[Positive, Meta(description="batches whose gradients are accumulated for one update")] = 1
    warmup: Annotated[Ratio, Meta(description="share of the updates in which the rate rises linearly")] = 0.05
    schedule: Annotated[Literal["cosine", "constant"], Meta(description="how the rate falls after that")] = "cosine"
    weight_decay: Annotated[Amount, Meta(description="decay of the matrices, as AdamW decouples it")] = 0.0
    clip: Annotated[Rate | None, Meta(description="largest norm of the gradient")] = 1.0
    freeze: Annotated[
        tuple[str, ...], Meta(description='globs of parameters that stay as they are: `["*embed_tokens*"]`')
    ] = ()
    keep_zeros: Annotated[
        bool, Meta(description="weights of linear layers that are zero, as `prune.llm-weights` leaves them, stay zero")
    ] = True
