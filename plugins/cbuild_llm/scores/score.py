"""The technique ``metrics.token-scores``: one pass of a model, or of two side by side, over token ids.

Logits are reduced as they come. What is in memory at a time is those of one window, for each of the two models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.api import Context, Runner

from ..model.logits import logits
from ..model.token_ids import TokenIds, Window, read_token_ids
from ..model.token_scores import TokenScores
from .params.scores import TokenScores as Params

__all__ = ["score"]

_ROWS = 64  # so many are in float64 at a time


def score(ctx: Context, subject: Path, params: Params) -> dict[str, Any]:
    """Write the scores. Returns the number of tokens and windows, and what ran the model."""
    tokens = read_token_ids(ctx, params.tokens)
    runner = ctx.runner("subject")
    source = ctx.runner(params.source) if params.source is not None else None
    windows = list(tokens.windows())
    parts = []
    for done, window in enumerate(windows, 1):
        parts.append(_of_window(tokens, window, runner, source))
        ctx.progress(done, len(windows))
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    TokenScores(tokens.digest, arrays, (source or runner).describe().get("weights")).write(ctx.out)
    return {"tokens": len(arrays["nll"]), "windows": len(windows), "runs_on": runner.describe()}


def _of_window(tokens: TokenIds, window: Window, runner: Runner, source: Runner | None) -> dict[str, np.ndarray]:
    ids = tokens.ids[window.start : window.end]
    shift = window.first - 1 - window.start  # the row that predicts the first of the ids that count
    wanted = ids[shift + 1 :]
    own = logits(runner, ids)[shift:-1]
    others = logits(source, ids)[shift:-1] if source is not None else None
    pieces = [
        _reduced(own[at : at + _ROWS], others[at : at + _ROWS] if others is not None else None, wanted[at : at + _ROWS])
        for at in range(0, len(wanted), _ROWS)
    ]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _reduced(own: np.ndarray, others: np.ndarray | None, wanted: np.ndarray) -> dict[str, np.ndarray]:
    """The numbers of some rows R×V, of the model and of its source."""
    rows = np.arange(len(wanted))
    logs = _log_softmax(own)
    found = {"nll": -logs[rows, wanted], "top": own.argmax(axis=1).astype(np.int32)}
    if others is None:
        return found
    width = min(own.shape[1], others.shape[1])  # one of them may be filled up to a round number of tokens
    known = _log_softmax(others)
    shares = np.exp(known[:, :width])
    terms = np.where(shares > 0, shares * (known[:, :width] - logs[:, :width]), 0.0)
    return {
        **found,
        "source_nll": -known[rows, wanted],
        "kl": np.maximum(terms.sum(axis=1), 0.0),  # rounding alone makes it negative
        "same": found["top"] == others.argmax(axis=1),
    }


def _log_softmax(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
