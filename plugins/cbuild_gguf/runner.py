"""Runs a GGUF model on llama.cpp, on this machine's processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.interface import check_feeds

from compressbuild.api import Context, ModelInput, Runner, UserError

from .artifact import FILE
from .llama import VERSION, Llama
from .settings import GgufSettings

__all__ = ["GgufRunner", "load"]


class GgufRunner:
    """``input_ids`` 1×T → ``logits`` 1×T×V float32; and token by token, with a cache (``start``, ``step``)."""

    inputs = (ModelInput("input_ids", (1, "sequence"), "int64"),)

    def __init__(self, model: Llama, settings: GgufSettings) -> None:
        self._model, self._settings = model, settings

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        ids = check_feeds(self.inputs, feeds, "the GGUF model")["input_ids"][0].tolist()
        self._fits(len(ids))
        return {"logits": self._model.logits(ids)[None]}

    def start(self, ids: Sequence[int], room: int) -> np.ndarray:
        """Scores V of the token after ``ids``. ``room``: tokens that follow at most, with ``ids``."""
        self._fits(room)
        return self._model.start(ids, room)

    def step(self, token: int) -> np.ndarray:
        """Scores V of the token after this one."""
        return self._model.step(token)

    def describe(self) -> dict[str, Any]:
        return {
            "runtime": VERSION,
            "version": version("cyllama"),
            "device": "cpu",
            "cache": self._settings.cache,
            "threads": self._settings.threads,
        }

    def _fits(self, count: int) -> None:
        if count > self._model.longest:
            raise UserError(f"{count} tokens are more than the model's {self._model.longest} positions")


def load(ctx: Context, artifact: Path, settings: GgufSettings | None) -> Runner:
    """A Runner of a GGUF model; without settings: with one thread."""
    settings = settings or GgufSettings()
    return GgufRunner(Llama(artifact / FILE, settings.threads, settings.cache), settings)
