"""What is published beside every artifact made of a Hugging Face model: its tokenizer and configurations."""

from __future__ import annotations

import shutil
from typing import Any

from compressbuild.api import Context

from .directory import read_config
from .params import HuggingFace

__all__ = ["gather"]

_PATTERNS = (
    *("config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "*.model", "chat_template.*", "additional_chat_templates/*"),
    *("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "[0-9]_*/config.json"),
)


def gather(ctx: Context, params: HuggingFace) -> dict[str, Any]:
    """Copy them."""
    folder = ctx.file(params.huggingface)
    read_config(folder, params.huggingface.rstrip("/"))
    found = sorted({path for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file()})
    for path in found:
        target = ctx.out / path.relative_to(folder)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    return {"files": len(found)}
