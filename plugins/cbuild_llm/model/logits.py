"""Logits of windows of token ids, of whatever runs a language model: one window at a time."""

from __future__ import annotations

import numpy as np

from compressbuild.api import ModelInput, Runner, UserError

__all__ = ["logits"]


def logits(runner: Runner, ids: np.ndarray) -> np.ndarray:
    """T×V float32 for T token ids. UserError for a model that takes something else, or gives what is not finite.

    Memory: T · V · 4 bytes, beside what the runner needs. A model of fixed length gets the window filled up.
    """
    _, length = _sizes(runner, len(ids))
    padded = np.zeros((1, length), np.int64)
    padded[0, : len(ids)] = ids
    seen = np.zeros((1, length), np.int64)
    seen[0, : len(ids)] = 1
    known = {
        "input_ids": padded,
        "attention_mask": seen,
        "position_ids": np.arange(length, dtype=np.int64)[None],
        "token_type_ids": np.zeros((1, length), np.int64),
    }
    answer = runner({item.name: known[item.name].astype(item.dtype) for item in runner.inputs})
    name = "logits" if "logits" in answer else next(iter(answer))
    found = answer[name]
    if found.ndim != 3 or found.shape[:2] != (1, length):
        raise UserError(
            f"output '{name}' is {list(found.shape)} for {length} tokens, so it is no score of each token",
            hint="metrics of language models need a model with an output N×T×V",
        )
    if found.shape[2] <= ids.max(initial=0):
        raise UserError(
            f"the model scores {found.shape[2]} tokens, but the ids go up to {ids.max()}",
            hint="the ids may be of another model's tokenizer",
        )
    rows = np.asarray(found[0, : len(ids)], np.float32)
    if np.isnan(rows).any() or np.isposinf(rows).any():
        raise UserError(
            "the model's logits are not finite", hint="its arithmetic overflows: compress less, or in a wider type"
        )
    return rows


def _sizes(runner: Runner, length: int) -> tuple[int, int]:
    """(batch, tokens) of a run of a window."""
    inputs: tuple[ModelInput, ...] = runner.inputs
    known = ("input_ids", "attention_mask", "position_ids", "token_type_ids")
    odd = next((item for item in inputs if item.name not in known or len(item.shape) != 2), None)
    if odd is not None or not any(item.name == "input_ids" for item in inputs):
        raise UserError(
            f"the model takes {odd if odd is not None else 'no input_ids'}, so it is no language model without a cache",
            hint=f"its inputs must be input_ids, and of {', '.join(known[1:])} those that it has",
        )
    batch, tokens = inputs[0].shape
    if isinstance(batch, int) and batch != 1:
        raise UserError(f"the model takes {batch} sequences at once, and windows are run one by one")
    if isinstance(tokens, int) and tokens < length:
        raise UserError(
            f"the model takes {tokens} tokens, but a window has {length}", hint=f"set 'context: {tokens}' of the ids"
        )
    return 1, tokens if isinstance(tokens, int) else length
