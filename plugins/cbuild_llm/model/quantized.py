"""The kind ``hf-quantized``: a Hugging Face directory whose linear layers are packed, as compressed-tensors.

::

    config.json         with a ``quantization_config``
    model.safetensors   NAME.weight_packed, NAME.weight_scale, NAME.weight_shape …; all other weights as they were
    tokenizer.json, …   as in an ``hf-model``
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from cbuild_huggingface.model.loading import ORIGIN, load_pretrained
from cbuild_torch.model.public import prepare
from torch import nn

from compressbuild.api import Context

from .checkpoint import read_quantized
from .loading import architecture
from .runner import LlmRunner

__all__ = ["load", "load_quantized", "open_model"]


def load_quantized(folder: Path, shown: str) -> nn.Module:
    """The model in transformers, in eval mode: products are computed in float32 with the weights that the integers
    stand for. UserError if a weight is missing."""
    config = read_quantized(folder, shown).config
    plain = {name: value for name, value in config.items() if name not in ORIGIN}
    bare = {name: value for name, value in config.items() if name != "quantization_config"}
    return load_pretrained(architecture(bare, shown), plain, {}, folder, shown, "copy all files of the model")


def load(ctx: Context, directory: Path, settings: None = None) -> LlmRunner:
    """Runner of an ``hf-quantized`` artifact."""
    prepare(ctx)
    return LlmRunner(load_quantized(directory, "the quantized model"))


def open_model(directory: Path, factory: Callable[..., Any] | None, trusted: Collection[str]) -> Any:
    """The model of transformers, in eval mode. UserError for a directory that holds none."""
    return load_quantized(directory, str(directory))
