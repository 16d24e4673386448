"""An ``hf-model`` from a directory of the project."""

from __future__ import annotations

import shutil
from typing import Any

from cbuild_torch.model.public import prepare

from compressbuild.api import Context

from .model.checkpoint import read_checkpoint
from .model.loading import architecture, load_causal, load_tokenizer
from .params import Llm

__all__ = ["read"]


def read(ctx: Context, params: Llm) -> dict[str, Any]:
    """Copy what belongs to the model, as it is, once it has been loaded.

    Returns its class, parameters, types of weights, and the number of tokens that its tokenizer has.
    """
    prepare(ctx)
    folder, shown = ctx.file(params.llm), params.llm.rstrip("/")
    found = read_checkpoint(folder, shown)
    load_causal(folder, shown)
    tokenizer = load_tokenizer(folder, shown)
    for name in found.files:
        target = ctx.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target)
    return {
        "class": architecture(found.config, shown),
        "parameters": found.parameters,
        "dtypes": sorted({tensor.dtype for tensor in found.tensors.values()}),
        "vocabulary": len(tokenizer),
        "chat_template": bool(tokenizer.chat_template),
    }
