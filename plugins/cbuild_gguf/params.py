"""Keys of a language model that is a GGUF file."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import FileRef, Meta, Params

__all__ = ["Gguf"]


class Gguf(Params):
    """A causal language model in a GGUF file, as a Hugging Face directory in float32.

    Its weights are dequantized, its configuration, tokenizer and chat template are read from the file. llama.cpp runs
    the same file in float32, and must give the same ids and logits. Weights that had few bits in the file keep what
    was lost: every number is relative to the file, and says so.
    """

    gguf: Annotated[FileRef, Meta(description="the file")]
