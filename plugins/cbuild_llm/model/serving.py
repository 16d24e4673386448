"""A Runner of a language model in a runtime of its own, which reads and generates one sequence at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from cbuild_kit.interface import check_feeds

from compressbuild.api import ModelInput, UserError

from .generating import likeliest

__all__ = ["Engine", "EngineRunner"]


class Engine(Protocol):
    """A language model in another runtime. ``vocabulary``: its tokens. ``longest``: positions that it has."""

    vocabulary: int
    longest: int

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """T×V float32 of T ids, each predicting the one after it."""

    def start(self, ids: Sequence[int], room: int) -> np.ndarray:
        """V float32: scores of what comes after ``ids``. ``room``: how many tokens the cache must hold at most."""

    def step(self, token: int) -> np.ndarray:
        """V float32: scores of what comes after the tokens so far and this one."""

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text, with the special tokens that are added to it."""

    @property
    def bos(self) -> int:
        """Id of the token that begins a text; -1: none."""


class EngineRunner:
    """``input_ids`` 1×T → ``logits`` 1×T×V float32; and token by token, with a cache (``start``, ``step``)."""

    inputs = (ModelInput("input_ids", (1, "sequence"), "int64"),)

    def __init__(self, engine: Engine, description: Mapping[str, Any]) -> None:
        self._engine, self._description = engine, dict(description)

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        ids = check_feeds(self.inputs, feeds, "the language model")["input_ids"][0].tolist()
        self._check(ids, len(ids))
        return {"logits": self._engine.logits(ids)[None]}

    def start(self, ids: Sequence[int], room: int) -> np.ndarray:
        """Scores V of the token after ``ids``. ``room``: tokens that follow at most, with ``ids``."""
        self._check(ids, room)
        return self._engine.start(ids, room)

    def step(self, token: int) -> np.ndarray:
        """Scores V of the token after this one."""
        self._check([token], 1)
        return self._engine.step(token)

    def likeliest(self, token: int) -> int:
        """The likeliest token after this one, chosen by the runtime where it can."""
        self._check([token], 1)
        return likeliest(self._engine, token)

    def describe(self) -> dict[str, Any]:
        return dict(self._description)

    def _check(self, ids: Sequence[int], room: int) -> None:
        if not ids or not all(0 <= token < self._engine.vocabulary for token in ids):
            raise UserError(
                f"the ids are not those of this model, which has {self._engine.vocabulary} tokens",
                hint="the ids may be of another model's tokenizer",
            )
        if room > self._engine.longest:
            raise UserError(f"{room} tokens are more than the model's {self._engine.longest} positions")
