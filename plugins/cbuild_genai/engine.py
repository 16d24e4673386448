"""ONNX Runtime GenAI: a model, its tokenizer, its logits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai as og

from compressbuild.api import UserError

from .artifact import read_config

__all__ = ["VERSION", "GenAi"]

VERSION = f"onnxruntime-genai {version('onnxruntime-genai')} with onnxruntime {version('onnxruntime')}"


class GenAi:
    """A ``genai-model`` on the CPU."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        found = read_config(folder)
        self.vocabulary: int = found["vocab_size"]
        self.longest: int = found["context_length"]
        session = {"intra_op_num_threads": threads}
        try:
            config = og.Config(str(folder))
            config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
            self._model = og.Model(config)
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(
                f"{VERSION} cannot load the model: {_one_line(error, folder)}",
                hint="a file is damaged, or was made by a newer version",
            ) from error
        self._folder = folder
        self._least = _window(folder, self.longest)
        self._made: Any = None
        self._generator: Any = None

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """T×V float32 of T ids, each predicting the one after it."""
        return self._begin(ids, len(ids))

    def start(self, ids: Sequence[int], room: int) -> np.ndarray:
        """V float32: scores of what comes after ``ids``. ``room``: how many tokens the cache must hold at most."""
        row: np.ndarray = self._begin(ids, max(room, len(ids)))[-1]
        return row

    def step(self, token: int) -> np.ndarray:
        """V float32: scores of what comes after the tokens so far and this one."""
        row: np.ndarray = self._feed([token])[-1]
        return row

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text, with the special tokens that the tokenizer adds."""
        return [int(token) for token in self._tokenizer.encode(text)]

    def render(self, messages: list[dict[str, str]]) -> str:
        """The text of a conversation, up to where the model answers."""
        try:
            return str(self._tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=True))
        except RuntimeError as error:
            raise UserError(f"{VERSION} cannot use the chat template: {_one_line(error, self._folder)}") from error

    @property
    def bos(self) -> int:
        """Id of the token that begins a text; -1: none."""
        return int(self._tokenizer.bos_token_id)

    @property
    def _tokenizer(self) -> Any:
        if self._made is None:
            try:
                self._made = og.Tokenizer(self._model)
            except RuntimeError as error:
                raise UserError(
                    f"{VERSION} cannot read the tokenizer: {_one_line(error, self._folder)}",
                    hint="it knows byte-level BPE, SentencePiece and WordPiece: see its documentation",
                ) from error
            self._made.update_options(add_special_tokens="true")  # without it, it adds no BOS
        return self._made

    def _begin(self, ids: Sequence[int], room: int) -> np.ndarray:
        self._generator = None  # its cache is freed first
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=max(room, self._least), do_sample=False)
        self._generator = og.Generator(self._model, params)
        return self._feed(ids)

    def _feed(self, ids: Sequence[int]) -> np.ndarray:
        """Logits T×V of the tokens, which come after those so far."""
        try:
            self._generator.append_tokens(np.array(ids, np.int32))
            found = self._generator.get_output("logits")
        except RuntimeError as error:
            raise UserError(f"{VERSION} cannot run the model: {_one_line(error, self._folder)}") from error
        return np.array(found[0], np.float32)


def _window(folder: Path, longest: int) -> int:
    """Tokens that a cache must hold at least: attention in a sliding window takes no smaller one."""
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("sliding_window")
    except (OSError, ValueError, AttributeError):
        return 0
    return min(said, longest) if isinstance(said, int) else 0


def _one_line(error: BaseException, folder: Path) -> str:
    return " ".join(str(error).replace(f"{folder}/", "").split())[:300] or type(error).__name__
