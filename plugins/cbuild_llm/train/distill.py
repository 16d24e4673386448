"""The technique ``distill.llm``: the next tokens that a teacher expects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compressbuild.api import Context, UserError

from ..model.packing import samples
from ..model.token_ids import read_token_ids
from ..model.token_logits import facts, read_token_logits
from .losses import next_token, taught
from .params.distill import DistillLlm
from .trained import trained

__all__ = ["distill"]


def distill(ctx: Context, model: Path, params: DistillLlm) -> dict[str, Any]:
    """Write the model after training on a teacher's logits, which stay on the disk but for those of a batch.

    Windows are packed as they were for the teacher. Returns what :func:`.loop.train` does, and how the teacher was
    recorded.
    """
    tokens = read_token_ids(ctx, params.tokens)
    teacher = read_token_logits(ctx, params.teacher, tokens)
    found = samples(tokens, teacher.packing)
    starts = np.cumsum([0, *(len(each.rows) for each in found)])
    if starts[-1] != len(teacher.rest):
        raise UserError(f"'{params.teacher}' has {len(teacher.rest)} rows, and the token ids {starts[-1]}")

    def loss(index: int, logits: Tensor) -> Tensor:
        rows = slice(starts[index], starts[index + 1])
        top = torch.from_numpy(teacher.top[rows].astype(np.int64))
        if top.shape[1] > logits.shape[1] or int(top.max()) >= logits.shape[1]:
            raise UserError(
                f"the teacher knows more tokens than the {logits.shape[1]} of the model",
                hint="they must share a tokenizer",
            )
        logs, rest = (torch.from_numpy(np.array(each[rows])) for each in (teacher.logs, teacher.rest))
        total = params.alpha * taught(logits, top, logs, rest, teacher.temperature)
        if params.alpha < 1:
            total = total + (1 - params.alpha) * next_token(logits, found[index].wanted)
        return total

    return trained(ctx, model, found, loss, params) | facts(teacher)
