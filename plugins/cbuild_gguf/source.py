"""An ``hf-model`` from a GGUF file, dequantized by transformers and compared with llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cbuild_llm.model.checkpoint import read_checkpoint
from cbuild_llm.model.loading import load_tokenizer
from cbuild_llm.model.parity import check_source, source_answers
from cbuild_torch.model.public import prepare

from compressbuild.api import Context, UserError

from .artifact import tensor_types
from .dequantize import write_model
from .llama import VERSION, Llama, widen_file
from .params import Gguf

__all__ = ["read"]

_FLOATS = ("F64", "F32", "F16", "BF16")


def read(ctx: Context, params: Gguf) -> dict[str, Any]:
    """Write the directory. Returns how many tensors of the file have which type, the model's class and parameters, and
    the comparison with llama.cpp.

    UserError for a file that is damaged, for a model that transformers cannot read from GGUF, and where the directory
    is another model than the one that llama.cpp runs.
    """
    prepare(ctx)
    path, shown = ctx.file(params.gguf), params.gguf
    try:
        counts, _ = tensor_types(path)
    except ValueError as error:
        raise UserError(f"'{shown}': {error}", hint="copy the file again") from error
    narrow = {name: count for name, count in counts.items() if name not in _FLOATS}
    origin = ", ".join(f"{name} × {count}" for name, count in narrow.items())
    alone = ctx.scratch / "alone" / "model.gguf"
    alone.parent.mkdir()
    alone.symlink_to(path)  # transformers lists the directory, in which nothing else is this node's to read
    write_model(alone, shown, ctx.out, f"GGUF, {origin}" if narrow else None)
    found = read_checkpoint(ctx.out, shown)
    parity = _compared(ctx, path)
    concern = f"the weights are those of a file that had few bits already ({origin}): every number is relative to it"
    return {
        "class": found.config["architectures"][0],
        "parameters": found.parameters,
        "tensors": counts,
        **parity,
        **({"concern": concern} if narrow else {}),
    }


def _compared(ctx: Context, path: Path) -> dict[str, Any]:
    """What llama.cpp makes of the same file, in float32: its own dequantization, and nobody's conversion."""
    whole = ctx.scratch / "whole.gguf"
    widen_file(path, whole, ctx.threads)
    tokenizer = load_tokenizer(ctx.out, "the directory made of the file")
    known = source_answers(ctx, ctx.out, tokenizer)
    facts = check_source(known, tokenizer, Llama(whole, ctx.threads, "f32"), VERSION)
    whole.unlink()
    return facts
