"""The technique ``finetune.llm``: cross-entropy of the next token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressbuild.api import Context

from ..model.packing import samples
from ..model.token_ids import read_token_ids
from .losses import next_token
from .params.finetune import FinetuneLlm
from .trained import trained

__all__ = ["finetune"]


def finetune(ctx: Context, model: Path, params: FinetuneLlm) -> dict[str, Any]:
    """Write the model after training on text. Returns what :func:`.loop.train` does."""
    found = samples(read_token_ids(ctx, params.tokens), params.packing)
    return trained(ctx, model, found, lambda index, logits: next_token(logits, found[index].wanted), params)
