"""The reference runtime of an ``hf-model``: transformers, in float32 on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from cbuild_kit.interface import check_feeds
from cbuild_torch.model.public import prepare
from torch import nn

from compressbuild.api import Context, ModelInput, UserError

from .loading import load_causal

__all__ = ["LlmRunner", "load"]


class LlmRunner:
    """``input_ids`` and ``attention_mask`` N×T → ``logits`` N×T×V, float32; and token by token, with a cache."""

    inputs = tuple(ModelInput(name, ("batch", "sequence"), "int64") for name in ("input_ids", "attention_mask"))

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        config: Any = model.config
        self._vocabulary: int = config.get_text_config().vocab_size
        self._origin: str | None = getattr(config, "dequantized_from", None)
        self._longest: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        given = check_feeds(self.inputs, feeds, "the language model")
        ids, mask = given["input_ids"], given["attention_mask"]
        if ids.shape != mask.shape:
            raise UserError(f"input_ids {list(ids.shape)} and attention_mask {list(mask.shape)} differ in shape")
        if ids.size and not 0 <= ids.min() <= ids.max() < self._vocabulary:
            raise UserError(
                f"input_ids has {ids.min()} to {ids.max()}, but the model has {self._vocabulary} tokens",
                hint="the ids may be of another model's tokenizer",
            )
        if self._longest is not None and ids.shape[1] > self._longest:
            raise UserError(f"{ids.shape[1]} tokens are more than the model's {self._longest} positions")
        with torch.inference_mode():
            made = self._model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
        return {"logits": made.logits.float().numpy()}

    def start(self, ids: Sequence[int], room: int) -> np.ndarray:
        """Scores V of the token after ``ids``, whose keys and values are kept. ``room``: tokens that follow at most,
        with ``ids``."""
        self._past: Any = None
        if self._longest is not None and room > self._longest:
            raise UserError(f"{room} tokens are more than the model's {self._longest} positions")
        return self._continue(list(ids))

    def step(self, token: int) -> np.ndarray:
        """Scores V of the token after this one."""
        return self._continue([token])

    def _continue(self, ids: list[int]) -> np.ndarray:
        with torch.inference_mode():
            made = self._model(input_ids=torch.tensor([ids]), past_key_values=self._past, use_cache=True)
        self._past = made.past_key_values
        scores: np.ndarray = made.logits[0, -1].float().numpy()
        return scores

    def describe(self) -> dict[str, Any]:
        return {
            "runtime": f"transformers {transformers.__version__}, torch {torch.__version__}",
            "device": "cpu",
            "dtype": "float32",
            "threads": torch.get_num_threads(),
            **({"weights": f"dequantized from {self._origin}"} if self._origin else {}),
        }


def load(ctx: Context, directory: Path, settings: None = None) -> LlmRunner:
    """Runner of an ``hf-model`` artifact."""
    prepare(ctx)
    return LlmRunner(load_causal(directory, "the hf-model"))
