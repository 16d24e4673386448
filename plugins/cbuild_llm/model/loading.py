"""An ``hf-model`` as a module of transformers, in float32 on the CPU, and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from cbuild_huggingface.model.directory import read_config
from cbuild_huggingface.model.factory import configured
from cbuild_huggingface.model.loading import ORIGIN, load_pretrained
from torch import nn

from compressbuild.api import UserError

__all__ = ["ORIGIN", "architecture", "load_causal", "load_tokenizer"]


def load_causal(
    folder: Path, shown: str, advice: str = "copy all files of the model: config.json may be of another one"
) -> nn.Module:
    """The model in float32, whatever its weights are stored in, in eval mode, without a cache of keys and values.

    UserError if it is no causal language model, or if a weight is missing; ``advice`` is the hint then.
    """
    said = read_config(folder, shown)
    config = {name: value for name, value in said.items() if name not in ORIGIN}
    return load_pretrained(architecture(said, shown), config, {}, folder, shown, advice)


def architecture(config: dict[str, Any], shown: str) -> str:
    """The name of the class that ``AutoModelForCausalLM`` chooses. UserError if it has none."""
    kind = type(configured({name: value for name, value in config.items() if name not in ORIGIN}))
    known = transformers.AutoModelForCausalLM._model_mapping
    if kind not in known:
        raise UserError(
            f"'{shown}' is a '{config.get('model_type')}', which is no causal language model",
            hint="'huggingface: DIRECTORY' reads encoders, and models of images",
        )
    found = known[kind]
    return str((found[0] if isinstance(found, tuple) else found).__name__)


def load_tokenizer(folder: Path, shown: str) -> Any:
    """The tokenizer. UserError if it cannot be read."""
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers has no error class of its own
        raise UserError(
            f"the tokenizer of '{shown}' cannot be read: {' '.join(str(error).split())[:200]}",
            hint="copy all files of the tokenizer, or save it again with save_pretrained",
        ) from error
