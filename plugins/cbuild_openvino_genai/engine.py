"""OpenVINO with a language model whose keys and values are its state; OpenVINO GenAI with its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_openvino.runtime import openvino

from compressbuild.api import UserError

from .artifact import MODEL, one_line, read

__all__ = ["VERSION", "OpenVinoGenAi"]

VERSION = f"openvino-genai {version('openvino-genai')} with openvino {version('openvino')}"
_ENDLESS = 1 << 31  # positions of a model that does not count them


class OpenVinoGenAi:
    """An ``openvino-genai-model`` on the CPU. ``cache``: type of cached keys and values: ``u8``, ``f16``, ``f32``."""

    def __init__(self, folder: Path, threads: int = 1, cache: str = "u8") -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text = {**config, **config.get("text_config", {})}
        self.longest: int = text.get("max_position_embeddings") or text.get("n_positions") or _ENDLESS
        self._folder = folder
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "KV_CACHE_PRECISION": cache,
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            compiled = openvino.Core().compile_model(read(folder, MODEL), "CPU", options)
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            raise UserError(f"{VERSION} cannot load the model: {one_line(error, folder)}") from error
        self.vocabulary: int = compiled.output("logits").partial_shape[2].get_length()
        self._inputs = {name for port in compiled.inputs for name in port.names}
        self._seen = 0

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """T×V float32 of T ids, each predicting the one after it."""
        self._clear()
        return self._feed(ids)

    def start(self, ids: Sequence[int], room: int) -> np.ndarray:
        """V float32: scores of what comes after ``ids``. ``room``: ignored, since the state grows."""
        self._clear()
        row: np.ndarray = self._feed(ids)[-1]
        return row

    def step(self, token: int) -> np.ndarray:
        """V float32: scores of what comes after the tokens so far and this one."""
        row: np.ndarray = self._feed([token])[-1]
        return row

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text, with the special tokens that the tokenizer adds."""
        return [int(token) for token in self._tokenizer.encode(text).input_ids.data[0]]

    def render(self, messages: list[dict[str, str]]) -> str:
        """The text of a conversation, up to where the model answers."""
        try:
            return str(self._tokenizer.apply_chat_template(messages, add_generation_prompt=True))
        except RuntimeError as error:
            raise UserError(f"{VERSION} cannot use the chat template: {one_line(error, self._folder)}") from error

    @property
    def bos(self) -> int:
        """Id of the token that begins a text; -1: none."""
        return int(self._tokenizer.get_bos_token_id())

    @cached_property
    def _tokenizer(self) -> Any:
        import openvino_genai

        try:
            return openvino_genai.Tokenizer(str(self._folder))
        except RuntimeError as error:
            raise UserError(f"{VERSION} cannot read the tokenizer: {one_line(error, self._folder)}") from error

    def _clear(self) -> None:
        self._request.reset_state()
        self._seen = 0

    def _feed(self, ids: Sequence[int]) -> np.ndarray:
        """Logits T×V of the tokens, which come after those so far."""
        count = len(ids)
        known = {
            "input_ids": np.array([ids], np.int64),
            "attention_mask": np.ones((1, self._seen + count), np.int64),
            "position_ids": np.arange(self._seen, self._seen + count, dtype=np.int64)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        try:
            self._request.infer({name: value for name, value in known.items() if name in self._inputs})
        except RuntimeError as error:
            raise UserError(f"{VERSION} cannot run the model: {one_line(error, self._folder)}") from error
        self._seen += count
        return np.array(self._request.get_tensor("logits").data[0], np.float32)
