"""Keys of a model that is a Hugging Face directory."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import FileRef, Meta, Params

__all__ = ["HuggingFace", "Input", "Task"]

Task = Literal[
    "feature-extraction",
    "fill-mask",
    "image-classification",
    "question-answering",
    "sentence-similarity",
    "text-classification",
    "text-generation",
    "token-classification",
]


class Input(Params):
    """An input of the model."""

    shape: Annotated[tuple[int | str, ...], Meta(description="sizes, and names for dynamic axes")]
    dtype: Annotated[Literal["float32", "int64", "bool"], Meta(description="type of its numbers")] = "int64"


class HuggingFace(Params):
    """A model in a directory as `save_pretrained` of transformers writes it.

    It has a `config.json`, weights in safetensors, in one file or in shards, and mostly a tokenizer or an image
    processor. Code that comes with a model is never run. The tokenizer and the configurations are published beside
    every artifact that is made of the model.
    """

    huggingface: Annotated[FileRef, Meta(description="the directory")]
    task: Annotated[
        Task | None,
        Meta(
            description="what the model is for; by default the class that `architectures` of config.json names, and "
            "`sentence-similarity` for a directory of sentence-transformers"
        ),
    ] = None
    inputs: Annotated[
        dict[str, Input],
        Meta(description="inputs by name, where those that follow from the configuration and the tokenizer do not fit"),
    ] = {}
