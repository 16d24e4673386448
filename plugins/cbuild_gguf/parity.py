"""Whether a GGUF file is its source: the same ids of a text, the same BOS and chat template, the same logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compressbuild.api import UserError

from .llama import VERSION, Llama

__all__ = ["TEXTS", "check_logits", "check_tokenizer"]

TEXTS = (
    "The quick brown fox can't jump over 12 lazy dogs.",
    "def f(x):\n    return  x ** 2\t# 3.14159\n\n\n",
    "Größe, naïve café — 東京タワー 🦙🦙 Привет!!!",
    " leading and   inner spaces, IT'S we'LL 1234567890 ... ///",
)
_LIMIT = 1e-3  # of the largest logit: float32 on both sides, summed in another order


def check_tokenizer(model: Llama, tokenizer: Any) -> None:
    """UserError unless llama.cpp makes of every text the ids that transformers makes, from BOS on, and has the same
    chat template."""
    for text in TEXTS:
        wanted, found = tokenizer(text)["input_ids"], model.tokenize(text)
        if wanted != found:
            at = next((i for i, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), -1)
            where = f"at {at}: {wanted[at]} and {found[at]}" if at >= 0 else f"{len(wanted)} and {len(found)} ids"
            raise UserError(
                f"parity: {VERSION} makes other ids of {text[:20]!r} than the model's tokenizer ({where})",
                hint="name how the tokenizer splits text: 'pre-tokenizer: gpt-2', 'pre-tokenizer: llama-bpe' …",
            )
    bos = tokenizer.bos_token_id
    if bos is not None and model.bos != bos:
        raise UserError(f"parity: BOS is {model.bos} in the GGUF file, and {bos} in the tokenizer of the model")
    template = tokenizer.chat_template
    if isinstance(template, str) and model.template != template:
        raise UserError("parity: the chat template in the GGUF file is not that of the model")


def check_logits(model: Llama, cases: Sequence[tuple[Sequence[int], np.ndarray]]) -> float:
    """The largest difference, over the largest logit. UserError if it is more than rounding.

    ``cases``: ids and their logits T×V in the source. Each is run as a whole, and then token by token from the middle
    on, with the cache.
    """
    worst = 0.0
    for ids, wanted in cases:
        half = len(ids) // 2
        parts = [model.logits(ids)[:, : wanted.shape[1]]]
        steps = [model.start(ids[:half], len(ids)), *(model.step(token) for token in ids[half:])]
        parts.append(np.stack(steps)[:, : wanted.shape[1]])
        for how, found, source in (("", parts[0], wanted), (", token by token", parts[1], wanted[half - 1 :])):
            error = float(np.abs(found - source).max() / np.abs(source).max())
            if not error <= _LIMIT:
                raise UserError(
                    f"parity: {VERSION} gives other logits than transformers for {len(ids)} tokens{how}: they "
                    f"differ by {error:.2g} of the largest (allowed: {_LIMIT:g})",
                    hint="the converter or llama.cpp does not follow this model's configuration",
                )
            worst = max(worst, error)
    return worst
