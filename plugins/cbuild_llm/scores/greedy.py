"""Whether two language models write the same: perplexity does not show a model that only repeats itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.api import Context

from ..model.generating import generator, greedy, prompts
from ..model.token_ids import read_token_ids
from .intervals import share_of
from .params.greedy import Greedy

__all__ = ["agreement"]

_GRAM = 4


def agreement(ctx: Context, subject: Path, params: Greedy) -> dict[str, Any]:
    """``{"value": mean over prompts of the tokens before the first that differs, over all that are generated, "low",
    "high": its 95 % interval for other prompts, from eight prompts on, "same": prompts whose texts are equal, "first":
    position of the first other token of each, "repeated", "source_repeated": share of 4-grams that occurred before in
    the same text, "n": prompts}``."""
    chosen = prompts(read_token_ids(ctx, params.tokens), params.prompts, params.prompt)
    texts = []
    origin = {}
    for role in ("subject", params.source):
        runner = ctx.runner(role)
        origin = {name: value for name, value in runner.describe().items() if name == "weights"}  # the source's at last
        model = generator(runner)
        made = []
        for ids in chosen:
            made.append(greedy(model, ids, params.generate))
            ctx.progress(len(made) + len(texts) * len(chosen), 2 * len(chosen))
        texts.append(made)
        del model, runner
    own, others = texts
    first = [_first_other(one, other) for one, other in zip(own, others, strict=True)]
    return {
        **origin,
        **share_of(np.array(first, np.float64) / params.generate, ctx.seed),
        "same": sum(each == params.generate for each in first),
        "first": first,
        "repeated": _repeated(own),
        "source_repeated": _repeated(others),
    }


def _first_other(one: list[int], other: list[int]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))


def _repeated(texts: list[list[int]]) -> float:
    again = total = 0
    for ids in texts:
        grams = [tuple(ids[at : at + _GRAM]) for at in range(len(ids) - _GRAM + 1)]
        again, total = again + len(grams) - len(set(grams)), total + len(grams)
    return again / total if total else 0.0
