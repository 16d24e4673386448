"""Parameters of making token ids."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import FileRef, Meta, Params, Positive

__all__ = ["TokenizeText"]


class TokenizeText(Params):
    """Turn text files into the token ids that language models are measured on, or pruned by."""

    text: Annotated[tuple[FileRef, ...], Meta(min_length=1, description="text files in UTF-8, joined by an empty line")]
    skip: Annotated[int, Meta(ge=0, description="how many tokens of the text are left out at its start")] = 0
    tokens: Annotated[Positive | None, Meta(description="how many tokens are kept; by default all")] = None
    context: Annotated[int, Meta(ge=2, description="tokens that a model sees at once")] = 512
    stride: Annotated[
        Positive | None,
        Meta(
            description="tokens that each window adds to the one before it, up to `context`; the others repeat, and "
            "are context only. By default half of `context`"
        ),
    ] = None
    special: Annotated[
        bool, Meta(description="whether the tokenizer adds its special tokens, such as BOS at the start of the text")
    ] = True

    ends: Annotated[
        bool,
        Meta(
            description="whether the tokenizer's EOS follows each file, instead of an empty line: so `packing: "
            "documents` of a training knows where a document ends"
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride > self.context:
            raise ValueError("`stride` must not be above `context`: tokens between the windows would be left out")
