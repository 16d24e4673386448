"""The technique ``tokenize.text``: token ids of text files, by the tokenizer of an ``hf-model``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.api import Context, UserError

from ..model.loading import load_tokenizer
from ..model.token_ids import TokenIds
from .params import TokenizeText

__all__ = ["tokenize"]


def tokenize(ctx: Context, model: Path, params: TokenizeText) -> dict[str, Any]:
    """Write the ids. Returns how many there are, in how many windows, and whether the first is BOS."""
    tokenizer = load_tokenizer(model, "the hf-model")
    texts = []
    for name in params.text:
        try:
            texts.append(ctx.file(name).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"'{name}' is no text in UTF-8: {error}", hint="convert it, or name another file"
            ) from error
    whole = _ids(tokenizer, texts, params)
    kept = whole[params.skip :][: params.tokens]
    if len(kept) < 2:
        raise UserError(
            f"{len(kept)} tokens are left of {len(whole)}, and to predict one takes two",
            hint="choose a longer text, or a smaller 'skip'",
        )
    found = TokenIds(
        np.asarray(kept, np.int32),
        params.context,
        params.stride or max(1, params.context // 2),
        len(tokenizer),
        tokenizer.eos_token_id if params.ends else None,
    )
    found.write(ctx.out)
    return {
        "tokens": len(kept),
        "tokens_of_text": len(whole),
        "windows": sum(1 for _ in found.windows()),
        "starts_with_bos": tokenizer.bos_token_id is not None and kept[0] == tokenizer.bos_token_id,
    }


def _ids(tokenizer: Any, texts: list[str], params: TokenizeText) -> list[int]:
    """Of all texts; with ``ends``, each on its own, and EOS after it."""
    parts = texts if params.ends else ["\n\n".join(texts)]
    if params.ends and tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no EOS, so 'ends: true' has none to write", hint="leave 'ends' out")
    found: list[int] = []
    for text in parts:
        found += tokenizer(text, add_special_tokens=params.special, verbose=False)["input_ids"]
        if params.ends and (not found or found[-1] != tokenizer.eos_token_id):  # some tokenizers write it themselves
            found.append(tokenizer.eos_token_id)
    return found
