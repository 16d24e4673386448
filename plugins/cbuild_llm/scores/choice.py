"""Multiple-choice questions, answered by the likelihood of each choice.

As lm-evaluation-harness (Gao et al., "A framework for few-shot language model evaluation") scores them: ``acc`` takes
the choice of the largest ln p(choice | context); ``acc_norm`` divides it by the choice's characters first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.api import Context

from ..model.logits import logits
from ..model.token_choices import read_token_choices
from .intervals import share_of
from .params.choice import Choice

__all__ = ["choice"]


def choice(ctx: Context, subject: Path, params: Choice) -> dict[str, Any]:
    """``{"value": acc, or acc_norm with `normalized`, "acc", "acc_norm", "low", "high", "chance", "n": questions}``.

    ``low``, ``high``: the 95 % interval for other questions of the kind, from eight questions on. ``chance``: what
    guessing gives.
    """
    questions = read_token_choices(ctx, params.questions).questions
    runner = ctx.runner("subject")
    plain, normalized = [], []
    for done, each in enumerate(questions, 1):
        likely = np.array([_likelihood(logits(runner, _ids(each.context, ids)), ids) for ids in each.choices])
        plain.append(int(likely.argmax()) == each.answer)
        normalized.append(int((likely / each.lengths).argmax()) == each.answer)
        ctx.progress(done, len(questions))
    chosen = normalized if params.normalized else plain
    return {
        **share_of(np.array(chosen, np.float64), ctx.seed),
        "acc": sum(plain) / len(questions),
        "acc_norm": sum(normalized) / len(questions),
        "chance": float(np.mean([1 / len(each.choices) for each in questions])),
    }


def _ids(context: list[int], choice: list[int]) -> np.ndarray:
    """Without the choice's last token, which is only predicted."""
    return np.array([*context, *choice[:-1]], np.int64)


def _likelihood(rows: np.ndarray, choice: list[int]) -> float:
    """ln p of a choice, from the logits of all tokens before its last."""
    last = rows[-len(choice) :].astype(np.float64)
    last -= last.max(axis=1, keepdims=True)
    logs = last - np.log(np.exp(last).sum(axis=1, keepdims=True))
    return float(logs[np.arange(len(choice)), choice].sum())
