"""The backend's compile function: converted in float32, compared with its source, then quantized by llama.cpp."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.fidelity import check_fidelity
from cbuild_llm.model.loading import load_causal, load_tokenizer
from cbuild_llm.model.probing import probes
from cbuild_llm.model.runner import LlmRunner
from cbuild_torch.model.public import prepare

from compressbuild.api import Context

from .artifact import FILE, tensor_types
from .convert import convert
from .llama import VERSION, Llama, quantize_file
from .parity import TEXTS, check_logits, check_tokenizer
from .runner import GgufRunner
from .settings import GgufSettings

__all__ = ["compile"]

_SHOWN = "the hf-model"
_CAUSES = "too few bits for this model: try 'type: q8_0', or 'type: q6_k'"


def compile(ctx: Context, model: Path, settings: GgufSettings) -> dict[str, Any]:
    """Write ``model.gguf``.

    The file in float32 must give the source's logits, as a whole and token by token, its ids of texts, BOS and
    template. The quantized one must still be that model: see ``cbuild_kit.fidelity``. Returns what wrote it, how many
    tensors have which type, the types of the embedding and the head, and both comparisons.
    """
    prepare(ctx)
    whole = ctx.scratch / "whole.gguf"
    convert(model, whole, ctx.scratch, settings.pre_tokenizer)
    source: Any = load_causal(model, _SHOWN)
    tokenizer = load_tokenizer(model, _SHOWN)
    exact = Llama(whole, ctx.threads, "f32")
    check_tokenizer(exact, tokenizer)
    texts = [tokenizer(text)["input_ids"] for text in TEXTS[:2]]
    tried = [np.array(ids, np.int64) for ids in [*texts, *(ids[0].tolist() for ids in probes(source.config, ctx.seed))]]
    reference = LlmRunner(source)
    error = check_logits(exact, [(ids.tolist(), _answer(reference, ids)[0]) for ids in tried])
    del exact, reference, source
    if settings.type == "f32":
        shutil.move(whole, ctx.out / FILE)
    else:
        quantize_file(whole, ctx.out / FILE, settings.type, ctx.threads)
    counts, ends = tensor_types(ctx.out / FILE)

    def original() -> Any:
        runner = LlmRunner(load_causal(model, _SHOWN))
        return lambda feeds: {"logits": _answer(runner, feeds["input_ids"][0])}

    facts = check_fidelity(
        ctx,
        original,
        lambda: GgufRunner(Llama(ctx.out / FILE, settings.threads, settings.cache), settings),
        [{"input_ids": ids[None]} for ids in tried],
        what=f"type {settings.type} of {VERSION}",
        causes=_CAUSES,
    )
    return {
        "runtime": VERSION,
        "type": settings.type,
        "tensors": counts,
        **{name.removesuffix(".weight"): kind for name, kind in ends.items()},
        "tied_head": "output.weight" not in ends,
        "parity": {"max_error": error, "precision": "fp32", "cases": len(tried)},
        **facts,
    }


def _answer(runner: LlmRunner, ids: np.ndarray) -> np.ndarray:
    """Logits 1×T×V of ids T."""
    return runner({"input_ids": ids[None], "attention_mask": np.ones_like(ids[None])})["logits"]
