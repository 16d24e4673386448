"""Text as the numbers of its tokens."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.api import UserError

__all__ = ["Tokenizer"]

_NAME = "tokenizer.json"
_CONFIG = "tokenizer_config.json"


class Tokenizer:
    """Texts, or pairs of them → ``input_ids``, ``attention_mask`` and ``token_type_ids``, N×length."""

    def __init__(self, path: Path, shown: str, length: int, *, pairs: bool) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread: the node's others are for its model
        import tokenizers

        file = path / _NAME if path.is_dir() else path
        if not file.is_file():
            raise UserError(
                f"'{shown}' has no {_NAME}",
                hint="a tokenizer of Hugging Face writes one: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
            )
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:
            raise UserError(f"'{shown}' is no tokenizer: {error}", hint=f"it is made with {_NAME}") from error
        if length <= self._tokenizer.num_special_tokens_to_add(pairs):
            raise UserError(f"'length: {length}' leaves no room for a text beside the special tokens")
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(**{**_padding(self._tokenizer, file, shown), "length": length})

    def __call__(self, *columns: Sequence[str]) -> dict[str, np.ndarray]:
        """Of one column of texts, or of two."""
        rows: list[Any] = list(columns[0]) if len(columns) == 1 else list(zip(*columns, strict=True))
        found = self._tokenizer.encode_batch(rows)
        return {
            "input_ids": np.asarray([each.ids for each in found], np.int64),
            "attention_mask": np.asarray([each.attention_mask for each in found], np.int64),
            "token_type_ids": np.asarray([each.type_ids for each in found], np.int64),
        }


def _padding(tokenizer: Any, file: Path, shown: str) -> dict[str, Any]:
    """What fills a text up: as the tokenizer says, or the file beside it."""
    known = tokenizer.padding
    if known:
        return {key: known[key] for key in ("direction", "pad_id", "pad_type_id", "pad_token")}
    config = file.with_name(_CONFIG)
    said = _config(config) if config.is_file() else {}
    token = said.get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    if token is None or tokenizer.token_to_id(token) is None:
        raise UserError(
            f"the tokenizer '{shown}' has no token to fill texts up with",
            hint="give it one: tokenizer.pad_token = tokenizer.eos_token; tokenizer.save_pretrained(DIR)",
        )
    direction = said.get("padding_side", "right")
    return {"direction": direction, "pad_id": tokenizer.token_to_id(token), "pad_type_id": 0, "pad_token": token}


def _config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"'{path.name}' cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}
