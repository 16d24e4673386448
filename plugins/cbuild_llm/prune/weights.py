"""The technique ``prune.llm-weights``: zeros among the weights of a language model's linear layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from cbuild_torch.model.public import prepare
from safetensors import safe_open
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.checkpoint import Checkpoint, read_checkpoint
from ..model.comparing import check_rewritten
from ..model.linear import linear_layers
from ..model.loading import load_causal
from ..model.probing import probes, run, spread_windows
from ..model.rewrite import round_as_files, write_masked, write_values
from ..model.stack import find_stack
from ..model.token_ids import read_token_ids
from .layerwise import Pattern, prune_stack
from .params.weights import PruneLlmWeights
from .sparsegpt import SPARSEGPT
from .wanda import WANDA

__all__ = ["prune"]

_SHOWN = "the hf-model"
_METHODS = {"wanda": WANDA, "sparsegpt": SPARSEGPT}


def prune(ctx: Context, model: Path, params: PruneLlmWeights) -> dict[str, Any]:
    """Write the model with zeros. By Wanda, what stays is as it was, bit for bit, and in its own type.

    What was written is read again: its zeros must be those chosen, and its logits those of the model in memory. Returns
    the share of zeros, how many there are, and of how many weights.
    """
    prepare(ctx)
    found = read_checkpoint(model, _SHOWN)
    module = load_causal(model, _SHOWN)
    stack = find_stack(module)
    chosen = linear_layers(stack, params.ignore, "prune")
    for name, each in chosen.items():
        _check_file(found, f"{name}.weight", each)
    windows = spread_windows(read_token_ids(ctx, params.tokens), params.windows)
    method = _METHODS[params.method]
    masks = prune_stack(ctx, module, stack, windows, chosen, _pattern(params), method)
    values = {name: module.get_parameter(name) for name in masks} if method is SPARSEGPT else {}
    round_as_files(values, found)
    if values:
        write_values(model, found, values, ctx.out)
    else:
        write_masked(model, found, masks, ctx.out)
    _check_written(model, ctx.out, found, masks, values)
    ids = probes(module.config, ctx.seed)
    check_rewritten(run(module, ids), run(load_causal(ctx.out, "the pruned model"), ids))
    zeros, total = sum(int((~mask).sum()) for mask in masks.values()), sum(mask.numel() for mask in masks.values())
    return {
        "sparsity": zeros / total,
        "zeros": zeros,
        "weights": total,
        "of_parameters": total / found.parameters,
        "layers": len(masks),
    }


def _pattern(params: PruneLlmWeights) -> Pattern:
    if params.pattern == "rows":
        return Pattern(share=0.5 if params.sparsity is None else params.sparsity)
    stay, group = map(int, params.pattern.split(":"))
    return Pattern(group, group - stay)


def _check_file(found: Checkpoint, name: str, layer: nn.Linear) -> None:
    tensor = found.tensors.get(name)
    if tensor is None or tensor.shape != tuple(layer.weight.shape):
        raise UserError(
            f"the files have no weight '{name}' of the shape {list(layer.weight.shape)}",
            hint="load the model with transformers 5, and save it again with save_pretrained",
        )


def _check_written(
    before: Path, after: Path, found: Checkpoint, masks: dict[str, Tensor], values: Mapping[str, Tensor]
) -> None:
    """UserError unless a tensor is its source, or what ``values`` has for it, with zeros where the mask has them."""
    made = read_checkpoint(after, "the pruned model").tensors
    for name, tensor in found.tensors.items():
        with safe_open(before / tensor.file, "pt") as old, safe_open(after / made[name].file, "pt") as new:
            source, got = old.get_tensor(name), new.get_tensor(name)
        wanted = values[name].detach().to(source.dtype) if name in values else source
        if name in masks:
            wanted = torch.where(masks[name], wanted, torch.zeros_like(wanted))
        if got.dtype != wanted.dtype or not torch.equal(got, wanted):
            raise UserError(f"the weight '{name}' that was written is not its source with zeros")
