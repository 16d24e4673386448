"""How fast a language model reads a prompt, and writes what follows. Tokenizing is not in it.

The words are those of NVIDIA's and vLLM's pages on metrics: time to first token (TTFT) is reading the prompt and
choosing the first token; the time per output token (TPOT) is that of all others, over their number.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from compressbuild.api import Context

from ..model.generating import Generator, generator, likeliest, prompts
from ..model.token_ids import read_token_ids
from .params import Generating

__all__ = ["decode", "first_token", "prefill"]


class Run(NamedTuple):
    """Seconds."""

    first: float
    others: float


def first_token(ctx: Context, subject: Path, params: Generating) -> dict[str, Any]:
    """``{"value": ms to the first token, median of runs, "least", "most", "samples", "prompt", "describe"}``."""
    runs, described = _runs(ctx, params, 1)
    return _shown([1000 * run.first for run in runs], params, described)


def prefill(ctx: Context, subject: Path, params: Generating) -> dict[str, Any]:
    """As :func:`first_token`, but ``value`` is tokens of the prompt a second."""
    runs, described = _runs(ctx, params, 1)
    return _shown([params.prompt / run.first for run in runs], params, described)


def decode(ctx: Context, subject: Path, params: Generating) -> dict[str, Any]:
    """As :func:`first_token`, but ``value`` is tokens a second after the first; ``"per_token"``: ms; ``"generate"``."""
    runs, described = _runs(ctx, params, params.generate)
    found = _shown([(params.generate - 1) / run.others for run in runs], params, described)
    return {**found, "per_token": 1000 / found["value"], "generate": params.generate}


def _runs(ctx: Context, params: Generating, count: int) -> tuple[list[Run], dict[str, Any]]:
    (prompt,) = prompts(read_token_ids(ctx, params.tokens), 1, params.prompt)
    runner = ctx.runner("subject")
    model = generator(runner)
    runs = []
    for done in range(params.repeat + 1):
        runs.append(_run(model, prompt, count))
        ctx.progress(done + 1, params.repeat + 1)
    return runs[1:], runner.describe()


def _run(model: Generator, prompt: list[int], count: int) -> Run:
    begun = time.perf_counter()
    token = int(model.start(prompt, len(prompt) + count).argmax())
    first = time.perf_counter()
    for _ in range(count - 1):
        token = likeliest(model, token)
    return Run(first - begun, time.perf_counter() - first)


def _shown(values: list[float], params: Generating, described: dict[str, Any]) -> dict[str, Any]:
    return {
        "value": float(np.median(values)),
        "least": min(values),
        "most": max(values),
        "samples": len(values),
        "prompt": params.prompt,
        "describe": described,
    }
