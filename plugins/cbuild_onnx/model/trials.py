"""On which inputs a rewritten model is compared with its source: samples, or made-up ones that show differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import example_arrays, sample_feeds
from cbuild_kit.probes import probe

from compressbuild.api import Context, UserError

from . import files
from .checks import compare
from .lookups import table_rows
from .runner import OnnxRunner

__all__ = ["compare_all", "trials"]

_SAMPLES = 32
_BYTES = 1 << 28  # of answers that are kept
Feeds = Mapping[str, np.ndarray]
Answers = Mapping[str, np.ndarray]


def trials(ctx: Context, source: Path, data: str | None, *, optimise: bool) -> list[tuple[Feeds, Answers]]:
    """Inputs, and what the source answers: samples of ``data``, or else several sizes of every named axis, 1 included,
    ids over their whole table and ragged masks. ``optimise``: whether the session of the source may.

    A source that refuses all of these is given plain inputs, and its refusal is the error.
    """
    runner = OnnxRunner(source, threads=ctx.threads, optimise=optimise)
    inputs = runner.inputs
    if data is not None:
        feeds = sample_feeds(ctx.dataset(data), inputs, _SAMPLES)
        return [(feeds, runner(feeds))]
    rows = table_rows(files.read(source, weights=False))
    kept: list[tuple[Feeds, Answers]] = []
    room = _BYTES
    for item, answers in probe(inputs, runner, rows=rows, seed=ctx.seed).taken:
        kept.append((item.feeds, answers))
        room -= sum(np.asarray(value).nbytes for value in answers.values())
        if room < 0:
            break
    if not kept:
        feeds = example_arrays(inputs)
        kept.append((feeds, runner(feeds)))
    return kept


def compare_all(
    tried: Sequence[tuple[Feeds, Answers]], run: Callable[[Feeds], Mapping[str, Any]], *, what: str, **allowed: Any
) -> float:
    """:func:`cbuild_onnx.model.checks.compare` over all inputs at once: an output that is near zero for one of them is
    measured against what it usually is."""
    found: dict[str, list[np.ndarray]] = {}
    wanted: dict[str, list[np.ndarray]] = {}
    for feeds, answers in tried:
        got = run(feeds)
        if list(got) != list(answers):
            raise UserError(f"{what} has outputs {list(got)}, its source {list(answers)}")
        for name, value in answers.items():
            if np.shape(got[name]) != np.shape(value):
                raise UserError(
                    f"{what} gives '{name}' the shape {list(np.shape(got[name]))}, its source {list(np.shape(value))}"
                )
            found.setdefault(name, []).append(np.ravel(got[name]))
            wanted.setdefault(name, []).append(np.ravel(value))
    joined = ({name: np.concatenate(parts) for name, parts in each.items()} for each in (found, wanted))
    return compare(*joined, what=what, **allowed)
