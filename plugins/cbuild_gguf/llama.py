"""llama.cpp, as the wheel cyllama has it: a model, its tokenizer, its logits, and llama.cpp's quantizer."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cyllama
import numpy as np
from cyllama.llama import llama_cpp as native

from compressbuild.api import UserError

__all__ = ["VERSION", "Llama", "quantize_file", "widen_file"]

_BUILT = json.loads((Path(cyllama.__file__).parent / "build_config.json").read_text(encoding="utf-8"))
VERSION = f"llama.cpp {_BUILT['versions']['llama_cpp_version']}"
_BATCH = 512  # tokens that are computed at once
_STEP = 256  # contexts grow by multiples of it
_CACHES = {"f32": 0, "f16": 1}  # ggml_type of ggml.h
# llama_ftype of llama.h
_FILES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "q4_k_m": 15, "q5_k_m": 17, "q6_k": 18, "bf16": 32}
_LOUD = (3, 4)  # ggml_log_level: warnings and errors

_said: deque[str] = deque(maxlen=20)


def _log(level: int, text: Any, *rest: Any) -> None:
    if level in _LOUD:
        _said.append((text.decode(errors="replace") if isinstance(text, bytes) else str(text)).strip())


native.set_log_callback(_log)
native.ggml_backend_load_all()


def quantize_file(source: Path, target: Path, kind: str, threads: int) -> None:
    """Write the model in another type of file. ``kind``: as ``q4_k_m``. UserError if llama.cpp cannot."""
    _write(source, target, kind, threads)


def widen_file(source: Path, target: Path, threads: int) -> None:
    """Write the model in float32, whatever its tensors are in. UserError if llama.cpp cannot."""
    _write(source, target, "f32", threads)


def _write(source: Path, target: Path, kind: str, threads: int) -> None:
    params = native.LlamaModelQuantizeParams()
    params.nthread, params.ftype = threads, _FILES[kind]
    params.allow_requantize = kind == "f32"
    _said.clear()
    try:
        native.model_quantize(str(source), str(target), params)
    except RuntimeError as error:
        raise UserError(f"{VERSION} cannot write the model as {kind}: {_last(error)}") from error


class _Model(native.LlamaModel):  # type: ignore[misc, unused-ignore]
    """With the number of tokens, which ``get_logits_ith`` of cyllama 0.2.18 asks a model for, and a model lacks."""

    @property
    def n_vocab(self) -> int:
        return int(self.get_vocab().n_vocab)


class Llama:
    """A model of a GGUF file on the CPU. ``cache``: type of cached keys and values, ``f16``, or ``f32``, with
    which all attention is in float32."""

    def __init__(self, file: Path, threads: int = 1, cache: str = "f16") -> None:
        self._threads, self._cache = threads, _CACHES[cache]
        params = native.LlamaModelParams()
        params.n_gpu_layers = 0
        _said.clear()
        try:
            self._model = _Model(str(file), params)
        except (ValueError, RuntimeError, OSError) as error:
            raise UserError(
                f"{VERSION} cannot load {file.name}: {_last(error)}",
                hint="the file is damaged, or of a model that this llama.cpp does not know",
            ) from error
        self._vocab = self._model.get_vocab()
        self.vocabulary: int = self._vocab.n_vocab
        self.longest: int = self._model.n_ctx_train
        self._context: Any = None
        self._batch = native.LlamaBatch(n_tokens=_BATCH, embd=0, n_seq_max=1)
        self._greedy = native.LlamaSampler(native.LlamaSamplerChainParams())
        self._greedy.add_greedy()
        self._room = self._seen = 0

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """T×V float32 of T ids, each predicting the one after it."""
        self._clear(len(ids))
        return self._feed(ids, every=True)

    def start(self, ids: Sequence[int], room: int) -> np.ndarray:
        """V float32: scores of what comes after ``ids``. ``room``: how many tokens the cache must hold at most."""
        self._clear(max(room, len(ids)))
        return self._feed(ids, every=False)[-1]

    def step(self, token: int) -> np.ndarray:
        """V float32: scores of what comes after the tokens so far and this one."""
        return self._feed([token], every=False)[-1]

    def likeliest(self, token: int) -> int:
        """The likeliest token after the tokens so far and this one. llama.cpp chooses it."""
        self._decode([token], every=False)
        return int(self._greedy.sample(self._context, -1))

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text, with the special tokens that the file says are added."""
        return [int(token) for token in self._vocab.tokenize(text, True, True)]

    @property
    def bos(self) -> int:
        """Id of the token that begins a text; -1: none."""
        return int(self._vocab.token_bos())

    @property
    def template(self) -> str | None:
        return self._model.get_default_chat_template() or None

    def _clear(self, room: int) -> None:
        """Forget all tokens, and have a cache for ``room``."""
        self._seen = 0
        if room <= self._room:
            self._context.kv_cache_clear()
            return
        self._room = -(-room // _STEP) * _STEP
        params = native.LlamaContextParams()
        params.n_ctx, params.n_batch, params.n_ubatch = self._room, min(_BATCH, self._room), min(_BATCH, self._room)
        params.n_threads = params.n_threads_batch = self._threads
        params.type_k = params.type_v = self._cache
        params.no_perf = True
        if self._cache == _CACHES["f32"]:
            params.flash_attn_type = 0  # flash attention rounds to float16, whatever the cache holds
        self._context = None  # the one before it is freed first
        _said.clear()
        try:
            self._context = native.LlamaContext(self._model, params)
        except (ValueError, RuntimeError, MemoryError) as error:
            self._room = 0
            raise UserError(f"{VERSION} cannot make a context of {room} tokens: {_last(error)}") from error

    def _feed(self, ids: Sequence[int], *, every: bool) -> np.ndarray:
        """Rows of the logits: of every id, or of the last one alone."""
        rows: list[np.ndarray] = []
        for at in range(0, len(ids), _BATCH):
            part = list(ids[at : at + _BATCH])
            self._decode(part, every=every)
            wanted = range(len(part)) if every else [-1] if at + _BATCH >= len(ids) else []
            rows.extend(np.array(self._context.get_logits_ith(index), np.float32) for index in wanted)
        return np.stack(rows)

    def _decode(self, ids: list[int], *, every: bool) -> None:
        self._batch.set_batch(ids, self._seen, every)
        _said.clear()
        try:
            self._context.decode(self._batch)
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{VERSION} cannot run the model: {_last(error)}") from error
        self._seen += len(ids)


def _last(error: Exception) -> str:
    lines = [line for line in _said if line]
    return "; ".join(lines[-2:] or [" ".join(str(error).split())])[:300]
