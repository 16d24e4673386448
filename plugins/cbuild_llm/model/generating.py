"""Generation token by token, of whatever runs a language model with a cache of keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from compressbuild.api import UserError

from .token_ids import TokenIds

__all__ = ["Generator", "generator", "greedy", "likeliest", "prompts"]


@runtime_checkable
class Generator(Protocol):
    """What a Runner of a language model has beside its call."""

    def start(self, ids: Sequence[int], room: int) -> np.ndarray:
        """Forget what was, and read a prompt. Scores V, float32, of the token after it. ``room``: how many tokens the
        cache must hold at most, those of the prompt among them."""

    def step(self, token: int) -> np.ndarray:
        """Read one more token. Scores V of the one after it."""


def generator(runner: Any) -> Generator:
    """The runner, which must generate. UserError if it does not."""
    if not isinstance(runner, Generator):
        raise UserError(
            "this artifact runs without a cache, so it generates no text",
            hint="measure an 'hf-model', or what the backends 'gguf', 'onnxruntime-genai' or 'openvino-genai' made",
        )
    return runner


def likeliest(model: Generator, token: int) -> int:
    """The likeliest token after one more. A runtime that chooses it itself (a method ``likeliest``) hands over no
    scores: for a large vocabulary their copy takes longer than a user of that runtime would wait."""
    own = getattr(model, "likeliest", None)
    return int(own(token)) if own is not None else int(model.step(token).argmax())


def greedy(model: Generator, ids: Sequence[int], count: int) -> list[int]:
    """The ``count`` likeliest tokens after a prompt, one after the other. A token that ends a text does not stop it."""
    scores = model.start(ids, len(ids) + count)
    made = [int(scores.argmax())]
    while len(made) < count:
        made.append(int(model.step(made[-1]).argmax()))
    return made


def prompts(tokens: TokenIds, count: int, length: int) -> list[list[int]]:
    """``count`` parts of the ids, of ``length`` each, evenly over all. UserError if there are too few ids."""
    if len(tokens.ids) < count * length:
        raise UserError(
            f"{count} prompts of {length} tokens need {count * length}, and there are {len(tokens.ids)}",
            hint="make more token ids ('tokens:' of tokenize.text), or ask for fewer or shorter prompts",
        )
    apart = len(tokens.ids) // count
    return [tokens.ids[index * apart : index * apart + length].tolist() for index in range(count)]
