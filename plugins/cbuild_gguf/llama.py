"""llama.cpp through its C interface, as the wheel llama-cpp-py-sync binds it: a model, its tokenizer, its logits."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp_py_sync
import numpy as np
from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

from compressbuild.api import UserError

__all__ = ["VERSION", "Llama", "quantize_file"]

VERSION = f"llama.cpp {llama_cpp_py_sync._version.__llama_cpp_tag__}"
_BATCH = 512  # tokens that are computed at once
_STEP = 256  # contexts grow by multiples of it

_ffi: Any = get_ffi()
_lib: Any = get_lib()
_said: deque[str] = deque(maxlen=20)


@_ffi.callback("void(enum ggml_log_level, const char *, void *)")  # type: ignore[untyped-decorator, unused-ignore]
def _log(level: int, text: Any, data: Any) -> None:
    if level in (_lib.GGML_LOG_LEVEL_WARN, _lib.GGML_LOG_LEVEL_ERROR):
        _said.append(_ffi.string(text).decode(errors="replace").strip())


_lib.llama_log_set(_log, _ffi.NULL)
_lib.llama_backend_init()


def quantize_file(source: Path, target: Path, kind: str, threads: int) -> None:
    """Write the model in another type of file. ``kind``: as ``q4_k_m``. UserError if llama.cpp cannot."""
    params = _ffi.new("llama_model_quantize_params *", _lib.llama_model_quantize_default_params())
    params.nthread = threads
    name = {"f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16"}.get(kind, f"MOSTLY_{kind.upper()}")
    params.ftype = getattr(_lib, f"LLAMA_FTYPE_{name}")
    _said.clear()
    if _lib.llama_model_quantize(str(source).encode(), str(target).encode(), params) != 0:
        raise UserError(f"{VERSION} cannot write the model as {kind}: {_last()}")


class Llama:
    """A model of a GGUF file on the CPU. ``cache``: type of cached keys and values, ``f16`` or ``f32``."""

    def __init__(self, file: Path, threads: int = 1, cache: str = "f16") -> None:
        self._threads, self._cache = threads, getattr(_lib, f"GGML_TYPE_{cache.upper()}")
        params = _lib.llama_model_default_params()
        params.n_gpu_layers = 0
        _said.clear()
        self._model = _lib.llama_model_load_from_file(str(file).encode(), params)
        if self._model == _ffi.NULL:
            raise UserError(
                f"{VERSION} cannot load {file.name}: {_last()}",
                hint="the file is damaged, or of a model that this llama.cpp does not know",
            )
        self._model = _ffi.gc(self._model, _lib.llama_model_free)
        self._vocab = _lib.llama_model_get_vocab(self._model)
        self.vocabulary: int = _lib.llama_vocab_n_tokens(self._vocab)
        self.longest: int = _lib.llama_model_n_ctx_train(self._model)
        self._context: Any = None
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

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text, with the special tokens that the file says are added."""
        raw = text.encode()
        room = len(raw) + 8
        ids = _ffi.new("llama_token[]", room)
        count = _lib.llama_tokenize(self._vocab, raw, len(raw), ids, room, True, True)
        return [int(ids[index]) for index in range(count)]

    @property
    def bos(self) -> int:
        """Id of the token that begins a text; -1: none."""
        return int(_lib.llama_vocab_bos(self._vocab))

    @property
    def template(self) -> str | None:
        found = _lib.llama_model_chat_template(self._model, _ffi.NULL)
        return None if found == _ffi.NULL else _ffi.string(found).decode()

    def _clear(self, room: int) -> None:
        """Forget all tokens, and have a cache for ``room``."""
        self._seen = 0
        if room <= self._room:
            _lib.llama_memory_clear(_lib.llama_get_memory(self._context), True)
            return
        self._room = -(-room // _STEP) * _STEP
        params = _lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = self._room, min(_BATCH, self._room), min(_BATCH, self._room)
        params.n_seq_max, params.n_outputs_max = 1, params.n_batch
        params.n_threads = params.n_threads_batch = self._threads
        params.type_k = params.type_v = self._cache
        params.no_perf = True
        self._context = None  # the one before it is freed first
        _said.clear()
        made = _lib.llama_init_from_model(self._model, params)
        if made == _ffi.NULL:
            raise UserError(f"{VERSION} cannot make a context of {self._room} tokens: {_last()}")
        model = self._model  # which must not be freed before its context
        self._context = _ffi.gc(made, lambda context: (_lib.llama_free(context), model)[0])

    def _feed(self, ids: Sequence[int], *, every: bool) -> np.ndarray:
        """Rows of the logits: of every id, or of the last one alone."""
        if not ids or not all(0 <= token < self.vocabulary for token in ids):
            raise UserError(f"the ids are not those of this model, which has {self.vocabulary} tokens")
        rows = []
        for at in range(0, len(ids), _BATCH):
            part = ids[at : at + _BATCH]
            wanted = [every or at + index == len(ids) - 1 for index in range(len(part))]
            self._decode(part, wanted)
            if count := sum(wanted):
                size = count * self.vocabulary * 4
                rows.append(np.frombuffer(_ffi.buffer(_lib.llama_get_logits(self._context), size), np.float32).copy())
        return np.concatenate(rows).reshape(-1, self.vocabulary)

    def _decode(self, ids: Sequence[int], wanted: Sequence[bool]) -> None:
        batch = _lib.llama_batch_init(len(ids), 0, 1)
        try:
            batch.n_tokens = len(ids)
            for index, token in enumerate(ids):
                batch.token[index], batch.pos[index] = token, self._seen + index
                batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
                batch.logits[index] = wanted[index]
            _said.clear()
            if (status := _lib.llama_decode(self._context, batch)) != 0:
                raise UserError(f"{VERSION} cannot run the model (status {status}): {_last()}")
        finally:
            _lib.llama_batch_free(batch)
        self._seen += len(ids)


def _last() -> str:
    lines = [line for line in _said if line]
    return "; ".join(lines[-2:])[:300] or "it says no more"
