"""The backend's compile function: converted in float32, compared with its source, then quantized by llama.cpp."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from cbuild_llm.model.loading import load_tokenizer
from cbuild_llm.model.parity import check_made, check_source, source_answers
from cbuild_torch.model.public import prepare

from compressbuild.api import Context, UserError

from .artifact import FILE, tensor_types
from .convert import convert
from .llama import VERSION, Llama, quantize_file
from .runner import opened
from .settings import GgufSettings

__all__ = ["compile"]

_CAUSES = "too few bits for this model: try 'type: q8_0', or 'type: q6_k'"
_SPLIT = "name how the tokenizer splits text: 'pre-tokenizer: gpt-2', 'pre-tokenizer: llama-bpe' …"


def compile(ctx: Context, model: Path, settings: GgufSettings) -> dict[str, Any]:
    """Write ``model.gguf``.

    The file in float32 must give the source's logits, as a whole and token by token, its ids of texts, BOS and
    template. The quantized one must still be that model: see ``cbuild_kit.fidelity``. Returns what wrote it, how many
    tensors have which type, the types of the embedding and the head, and both comparisons.
    """
    prepare(ctx)
    whole = ctx.scratch / "whole.gguf"
    convert(model, whole, ctx.scratch, settings.pre_tokenizer)
    tokenizer = load_tokenizer(model, "the hf-model")
    known = source_answers(ctx, model, tokenizer)
    exact = Llama(whole, ctx.threads, "f32")
    _check_template(exact, tokenizer)
    parity = check_source(known, tokenizer, exact, VERSION, _SPLIT)
    del exact
    if settings.type == "f32":
        shutil.move(whole, ctx.out / FILE)
    else:
        quantize_file(whole, ctx.out / FILE, settings.type, ctx.threads)
    counts, ends = tensor_types(ctx.out / FILE)
    facts = check_made(
        ctx,
        known,
        lambda: opened(ctx.out / FILE, settings),
        what=f"type {settings.type} of {VERSION}",
        causes=_CAUSES,
    )
    return {
        "runtime": VERSION,
        "type": settings.type,
        "tensors": counts,
        **{name.removesuffix(".weight"): kind for name, kind in ends.items()},
        "tied_head": "output.weight" not in ends,
        **parity,
        **facts,
    }


def _check_template(model: Llama, tokenizer: Any) -> None:
    template = tokenizer.chat_template
    if isinstance(template, str) and model.template != template:
        raise UserError("parity: the chat template in the GGUF file is not that of the model")
