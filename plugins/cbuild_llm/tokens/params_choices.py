"""Parameters of making token ids of multiple-choice questions."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import FileRef, Meta, Params

__all__ = ["TokenizeChoices"]


class TokenizeChoices(Params):
    """Turn multiple-choice questions into the token ids that language models are asked."""

    file: Annotated[
        FileRef, Meta(description='a question in each line: `{"context": "…", "choices": ["…", "…"], "answer": 0}`')
    ]
    delimiter: Annotated[str, Meta(description="what stands between a context and each of its choices")] = " "
    special: Annotated[
        bool, Meta(description="whether the tokenizer adds its special tokens, such as BOS, before the context")
    ] = True
