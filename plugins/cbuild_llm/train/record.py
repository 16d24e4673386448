"""The technique ``record.logits``: a teacher runs once, and its likeliest next tokens become an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from compressbuild.api import Context, UserError

from ..model.logits import logits
from ..model.packing import pieces
from ..model.runner import load
from ..model.token_ids import read_token_ids
from ..model.token_logits import TokenLogits, Writer, facts
from .params.record import RecordLogits

__all__ = ["record"]

_ROWS = 64  # so many are in float64 at a time


def record(ctx: Context, model: Path, params: RecordLogits) -> dict[str, Any]:
    """Write the likeliest tokens of each row. In memory are the logits of one window.

    Each document of a window runs by itself with ``packing: documents``. Returns the number of rows, what of the
    probability the tokens that are kept hold on average, and what ran the model.
    """
    tokens = read_token_ids(ctx, params.tokens)
    runner = load(ctx, model)
    windows = list(tokens.windows())
    parts = [[part for part in pieces(tokens, each, params.packing) if part.first < part.end] for each in windows]
    rows = sum(part.end - part.first for each in parts for part in each)
    if not rows:
        raise UserError("no token is predicted from another", hint="make more token ids, of longer documents")
    writer: Writer | None = None
    top, held = params.top, 0.0
    for done, each in enumerate(parts, 1):
        for part in each:
            found = torch.from_numpy(logits(runner, tokens.ids[part.start : part.end]))
            found = found[part.first - 1 - part.start : -1]
            if writer is None:
                top = min(params.top, found.shape[1])
                writer = Writer(ctx.out, tokens.digest, params.packing, params.temperature, rows, top)
            for at in range(0, len(found), _ROWS):
                kept, logs, rest = _reduced(found[at : at + _ROWS], top, params.temperature)
                writer.add(kept.numpy(), logs.numpy(), rest.numpy())
                held += float(logs.exp().sum())
        ctx.progress(done, len(parts))
    if writer is not None:
        writer.close()
    return {
        "rows": rows,
        "held": held / rows,
        **facts(TokenLogits.read(ctx.out)),
        "runs_on": runner.describe(),
    }


def _reduced(rows: torch.Tensor, top: int, temperature: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of logits R×V: (ids of the ``top`` likeliest, ln of their probabilities; ln of what is left for all others)."""
    scaled = rows.double() / temperature
    whole = scaled.logsumexp(1, keepdim=True)
    kept = scaled.topk(top, dim=1)
    others = scaled.scatter(1, kept.indices, -torch.inf).logsumexp(1, keepdim=True)
    return kept.indices.int(), kept.values - whole, (others - whole)[:, 0]
