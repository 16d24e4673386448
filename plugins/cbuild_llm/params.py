"""Keys of a language model that is a Hugging Face directory."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import FileRef, Meta, Params

__all__ = ["Llm"]


class Llm(Params):
    """A causal language model in a directory as `save_pretrained` of transformers writes it, kept in that form.

    It has a `config.json`, weights in safetensors, in one file or in shards, and a tokenizer. Code that comes with a
    model is never run. Every step takes such a directory and makes one, which `AutoModelForCausalLM.from_pretrained`
    loads.
    """

    llm: Annotated[FileRef, Meta(description="the directory")]
