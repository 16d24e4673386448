"""From an ``hf-model`` to another with the same shapes, by training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from cbuild_torch.model.public import prepare
from torch import nn

from compressbuild.api import Context, UserError

from ..model.checkpoint import Checkpoint, read_checkpoint
from ..model.comparing import check_rewritten
from ..model.loading import load_causal
from ..model.packing import Sample, check_packing
from ..model.probing import probes, run
from ..model.rewrite import round_as_files, write_values
from .loop import Loss, train
from .params.fields import LlmTraining

__all__ = ["trained"]

_SHOWN = "the hf-model"


def trained(ctx: Context, model: Path, found: Sequence[Sample], loss: Loss, params: LlmTraining) -> dict[str, Any]:
    """Train in float32, and write each weight in its own type. What was written is loaded, and must be that model."""
    prepare(ctx)
    files = read_checkpoint(model, _SHOWN)
    module = load_causal(model, _SHOWN)
    config: Any = module.config
    _check_ids(config, found)
    values = _values(module, files)
    check_packing(module, found)
    facts = train(ctx, module, found, loss, params)
    round_as_files(values, files)
    write_values(model, files, values, ctx.out)
    ids = probes(config, ctx.seed)
    made = load_causal(ctx.out, "the trained model")
    check_rewritten(run(module, ids), run(made, ids))
    return facts


def _check_ids(config: Any, found: Sequence[Sample]) -> None:
    """UserError where the ids do not fit the model."""
    longest, most = getattr(config, "max_position_embeddings", None), max(int(each.ids.max()) for each in found)
    length = max(len(each.ids) for each in found)
    if longest is not None and length > longest:
        raise UserError(
            f"windows of {length} tokens are longer than the model's {longest} positions",
            hint=f"set 'context: {longest}' of tokenize.text",
        )
    if most >= config.vocab_size:
        raise UserError(
            f"the ids go up to {most}, but the model has {config.vocab_size} tokens",
            hint="the ids may be of another model's tokenizer",
        )


def _values(module: nn.Module, files: Checkpoint) -> dict[str, torch.Tensor]:
    """Name in the files → the module's parameter. UserError if one is not in the files under its name."""
    named = dict(module.named_parameters(remove_duplicate=False))
    found = {name: named[name] for name in files.tensors if name in named}
    kept = {id(each) for each in found.values()}
    lost = next((name for name, each in named.items() if id(each) not in kept), None)
    if lost is None:
        lost = next((name for name, each in found.items() if files.tensors[name].shape != tuple(each.shape)), None)
    if lost is not None:
        raise UserError(
            f"the files have no weight '{lost}' of the module's shape",
            hint="load the model with transformers 5, and save it again with save_pretrained; the fused experts of a "
            "mixture cannot be trained",
        )
    return found
