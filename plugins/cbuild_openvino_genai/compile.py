"""The backend's compile function: converted in float32, compared with its source, then its weights compressed."""

from __future__ import annotations

import shutil
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from cbuild_llm.model.checkpoint import copy_beside
from cbuild_llm.model.loading import load_causal, load_tokenizer
from cbuild_llm.model.parity import check_chat, check_made, check_source, source_answers
from cbuild_openvino.runtime import nncf, openvino
from cbuild_torch.model.public import prepare

from compressbuild.api import Context

from .artifact import MODEL, read
from .convert import convert, convert_tokenizer
from .engine import VERSION, OpenVinoGenAi
from .runner import opened
from .settings import OpenVinoGenAiSettings

__all__ = ["compile"]

_SHOWN = "the hf-model"
_CAUSES = (
    "too few bits for this model: try 'symmetric: false', a smaller 'group-size', 'ratio: 0.8', 'cache: f16', or "
    "'precision: int8'"
)


def compile(ctx: Context, model: Path, settings: OpenVinoGenAiSettings) -> dict[str, Any]:
    """Write the directory.

    In float32 the model must give the source's logits, as a whole and token by token, its ids of texts, BOS, and its
    text of a conversation. With fewer bits it must still be that model: see ``cbuild_kit.fidelity``. Returns what made
    it, how many constants have which type, and both comparisons.
    """
    prepare(ctx)
    whole = ctx.scratch / "whole"
    whole.mkdir()
    copy_beside(model, whole)
    tokenizer = load_tokenizer(model, _SHOWN)
    convert_tokenizer(tokenizer, whole)
    _write(convert(load_causal(model, _SHOWN)), whole)
    known = source_answers(ctx, model, tokenizer)
    exact = OpenVinoGenAi(whole, ctx.threads, "f32")
    check_chat(exact.render, tokenizer, VERSION)
    parity = check_source(known, tokenizer, exact, VERSION)
    del exact
    shutil.copytree(whole, ctx.out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(f"{MODEL}.*"))
    _write(_compressed(read(whole, MODEL), settings), ctx.out)
    shutil.rmtree(whole)
    facts = check_made(
        ctx,
        known,
        lambda: opened(ctx.out, settings),
        what=f"precision {settings.precision} of {VERSION}",
        causes=_CAUSES,
    )
    return {"runtime": VERSION, "precision": settings.precision, "weights": _types(ctx.out), **parity, **facts}


def _write(made: Any, folder: Path) -> None:
    openvino.save_model(made, str(folder / f"{MODEL}.xml"), compress_to_fp16=False)


def _compressed(made: Any, settings: OpenVinoGenAiSettings) -> Any:
    if settings.precision == "fp32":
        return made
    tool = nncf()
    modes = tool.CompressWeightsMode
    if settings.precision == "int8":
        return tool.compress_weights(made, mode=modes.INT8_ASYM)
    mode = modes.INT4_SYM if settings.symmetric else modes.INT4_ASYM
    return tool.compress_weights(made, mode=mode, group_size=settings.group_size, ratio=settings.ratio)


def _types(folder: Path) -> dict[str, int]:
    """Type → how many numbers of it the model holds in tensors of two or more axes."""
    counts: Counter[str] = Counter()
    for node in read(folder, MODEL).get_ops():
        if node.get_type_name() == "Constant" and len(node.shape) > 1:
            counts[node.get_element_type().get_type_name()] += prod(node.shape)
    return dict(sorted(counts.items()))
