"""The backend's compile function: the directory, its float weights in the type that vLLM is to compute in."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from cbuild_kit.fidelity import check_fidelity
from cbuild_llm.model.checkpoint import Checkpoint
from cbuild_llm.model.loading import load_causal
from cbuild_llm.model.probing import probes
from cbuild_llm.model.rewrite import write_narrower
from cbuild_llm.model.runner import LlmRunner
from cbuild_torch.model.public import prepare

from compressbuild.api import Context, UserError

from .artifact import is_packed, read
from .settings import VllmSettings

__all__ = ["compile"]

_SHOWN = "the model"


def compile(ctx: Context, model: Path, settings: VllmSettings) -> dict[str, Any]:
    """Write the directory. Returns how many tensors have which type, and for converted weights how far the logits are
    off, computed in float32 with the rounded weights: see ``cbuild_kit.fidelity``. vLLM itself is not run.

    UserError where packed weights are to be converted.
    """
    prepare(ctx)
    found = read(model, _SHOWN)
    facts: dict[str, Any] = {}
    if settings.dtype == "as-is":
        for name in found.files:
            target = ctx.out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(model / name, target)
    elif is_packed(model):
        raise UserError(
            f"the weights are packed already, so 'dtype: {settings.dtype}' has nothing to convert",
            hint="leave 'dtype' out, or convert the float model and quantize it afterwards",
        )
    else:
        facts = _converted(ctx, model, found, settings.dtype)
    types = Counter(tensor.dtype for tensor in read(ctx.out, _SHOWN).tensors.values())
    return {"tensors": dict(sorted(types.items())), "not_run": "vLLM is not run here", **facts}


def _converted(ctx: Context, model: Path, found: Checkpoint, dtype: str) -> dict[str, Any]:
    import torch

    wanted = getattr(torch, dtype)
    config = {**{name: value for name, value in found.config.items() if name != "torch_dtype"}, "dtype": dtype}
    write_narrower(model, found, config, lambda name, tensor: tensor.to(wanted), ctx.out)
    source: Any = load_causal(model, _SHOWN)
    tried = [ids.numpy() for ids in probes(source.config, ctx.seed)]
    del source
    return check_fidelity(
        ctx,
        lambda: LlmRunner(load_causal(model, _SHOWN)),
        lambda: LlmRunner(load_causal(ctx.out, _SHOWN)),
        [{"input_ids": ids, "attention_mask": ids * 0 + 1} for ids in tried],
        what=f"dtype {dtype}",
        causes="weights beyond the range of float16: try 'dtype: bfloat16'",
    )
