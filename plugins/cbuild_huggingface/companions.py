"""What is published beside every artifact made of a Hugging Face model: its tokenizer and configurations."""

from __future__ import annotations

import shutil
from typing import Any

from compressbuild.api import Context

from .model.directory import beside, read_config
from .params import HuggingFace

__all__ = ["gather"]


def gather(ctx: Context, params: HuggingFace) -> dict[str, Any]:
    """Copy them."""
    folder = ctx.file(params.huggingface)
    read_config(folder, params.huggingface.rstrip("/"))
    found = beside(folder)
    for path in found:
        target = ctx.out / path.relative_to(folder)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    return {"files": len(found)}
