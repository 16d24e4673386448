"""The backend's compile function: built in float32, compared with its source, then built in fewer bits."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from cbuild_llm.model.loading import load_tokenizer
from cbuild_llm.model.parity import check_chat, check_made, check_source, source_answers
from cbuild_onnx.model import files
from cbuild_torch.model.public import prepare

from compressbuild.api import Context

from .artifact import MODEL
from .build import build
from .engine import VERSION, GenAi
from .runner import opened
from .settings import GenAiSettings

__all__ = ["compile"]

_CAUSES = (
    "too few bits for this model: try 'mixed: true', 'method: k-quant', 'activations: float32', a smaller "
    "'group-size', or 'precision: int8'"
)


def compile(ctx: Context, model: Path, settings: GenAiSettings) -> dict[str, Any]:
    """Write the directory.

    Built in float32 it must give the source's logits, as a whole and token by token, its ids of texts, BOS, and its
    text of a conversation. In fewer bits it must still be that model: see ``cbuild_kit.fidelity``. Returns what built
    it, the number of nodes with integer weights, the operator that looks up embeddings, and both comparisons.
    """
    prepare(ctx)
    whole = ctx.scratch / "whole"
    build(model, whole, ctx.scratch, GenAiSettings(precision="fp32"))
    tokenizer = load_tokenizer(model, "the hf-model")
    known = source_answers(ctx, model, tokenizer)
    exact = GenAi(whole, ctx.threads)
    check_chat(exact.render, tokenizer, VERSION)
    parity = check_source(known, tokenizer, exact, VERSION)
    del exact
    if settings.precision == "fp32":
        shutil.copytree(whole, ctx.out, dirs_exist_ok=True)
    else:
        build(model, ctx.out, ctx.scratch, settings)
    shutil.rmtree(whole)
    facts = check_made(
        ctx,
        known,
        lambda: opened(ctx.out, settings),
        what=f"precision {settings.precision} of {VERSION}",
        causes=_CAUSES,
    )
    operators = Counter(node.op_type for node in files.read(ctx.out / MODEL, weights=False).graph.node)
    return {
        "runtime": VERSION,
        "precision": settings.precision,
        "integer_products": operators["MatMulNBits"],
        "embedding": "int4" if operators["GatherBlockQuantized"] else "float32",
        **parity,
        **facts,
    }
