"""Removing attention heads: Michel, Levy, Neubig, "Are Sixteen Heads Really Better than One?", 2019."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from cbuild_kit import batch_indices
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.attention import split
from ..model.calling import caller
from ..model.description import ModelDescription
from ..model.head_layers import HeadLayer, head_layers, unbundle
from ..model.module import prepare
from ..model.objective import Task, read_samples, task_loss
from ..model.probing import answers, first_difference, probed
from ..model.selection import check_patterns, matching, ratio_for
from ..model.structure import EditedModel
from .params.heads import PruneHeads

__all__ = ["prune"]

_HINT = "prune.magnitude and factorize.lowrank fit every linear layer"
_BATCH = 32
Kept = dict[str, list[int]]


def prune(ctx: Context, model: Path, params: PruneHeads) -> dict[str, Any]:
    """Take heads out of the tensors. Returns heads and parameters before and after, and which heads stay."""
    prepare(ctx)
    edited = EditedModel(ctx, model)
    description = ModelDescription.read(model)
    before = edited.cost()[1]
    wanted = _wanted(edited.module, params)
    unbundle(edited, wanted, description.sparse)
    layers = {name: layer for name, layer in head_layers(edited.module).items() if name in wanted}
    scores = _gradients(ctx, edited.module, description, layers, params) if params.criterion == "gradient" else None
    kept = _choose(layers, scores or {name: layer.norms() for name, layer in layers.items()}, params)
    with _only(layers, kept):
        masked = probed(edited.module, description.inputs)
    for name, layer in layers.items():
        layer.keep(edited, kept[name])
    edited.edits.append({"op": "resize"})
    edited.save(hint=_HINT)
    other = first_difference(masked, answers(edited.module, description.inputs))
    if other is not None:
        raise UserError(f"dropping heads changes more than zeroing them does: {other}", hint=_HINT)
    count = sum(map(len, kept.values()))
    ctx.log.info("%s", "; ".join(f"{name}: {len(heads)} of {layers[name].count}" for name, heads in kept.items()))
    queries = {name: layer.queries for name, layer in layers.items() if layer.queries > 1}
    return {
        "heads": count,
        "heads_before": sum(layer.count for layer in layers.values()),
        "parameters": edited.cost()[1],
        "parameters_before": before,
        "kept": kept,
        **({"queries": queries} if queries else {}),
    }


def _wanted(module: nn.Module, params: PruneHeads) -> list[str]:
    """Names of the attention layers to prune; UserError if there is none."""
    if params.criterion == "gradient" and params.data is None:
        raise UserError("criterion gradient needs labelled data", hint="add 'data: DATASET', or use criterion weight")
    names = [name for name, layer in module.named_modules() if isinstance(layer, nn.MultiheadAttention)]
    names += head_layers(module)
    for name in names:
        layer = module.get_submodule(name)
        if isinstance(layer, nn.MultiheadAttention):
            try:
                split(layer)
            except ValueError as error:
                raise UserError(f"'{name}': {error}", hint=_HINT) from error
    if not names:
        raise UserError(
            "the model has no attention heads to prune: no torch.nn.MultiheadAttention, and no module with linear "
            "layers query, key and value, an output layer and a number or size of heads",
            hint="attention that makes the three in one layer must be split in the factory; prune.layers drops whole "
            "blocks, prune.channels prunes convolutions, prune.recurrent LSTMs and GRUs",
        )
    check_patterns("ignore", params.ignore, names)
    check_patterns("overrides", params.overrides, names)
    left = [name for name in names if not matching(name, params.ignore)]
    if not left:
        raise UserError("'ignore:' leaves no attention layer")
    return left


def _gradients(
    ctx: Context, module: nn.Module, description: ModelDescription, layers: dict[str, HeadLayer], params: PruneHeads
) -> dict[str, Tensor]:
    """E|Att_h · ∂L/∂Att_h| over samples, for each head: equation 2 of the paper, exact for each sample of a batch."""
    assert params.data is not None  # _wanted saw to that
    samples = read_samples(ctx, params.data, description.inputs, params.samples)
    loss, call = task_loss(ctx, Task(params.loss), samples), caller(module, description.inputs)
    scores = {name: torch.zeros(layer.count) for name, layer in layers.items()}
    mixed: dict[str, Tensor] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            mixed[name] = inputs[0]
            inputs[0].retain_grad()

        return hook

    hooks = [layer.output.register_forward_pre_hook(note(name)) for name, layer in layers.items()]
    try:
        with torch.enable_grad():
            for indices in batch_indices(len(samples), _BATCH):
                chosen = torch.from_numpy(indices)
                (loss(call(samples.feeds(chosen)), chosen) * len(chosen)).backward()
                for name, layer in layers.items():
                    value, gradient = mixed[name].detach(), mixed[name].grad
                    if gradient is None:
                        raise UserError(
                            f"the loss does not depend on attention layer '{name}'", hint="name it in 'ignore:'"
                        )
                    shape = (len(chosen), -1, layer.count, layer.width)
                    scores[name] += (value * gradient).reshape(shape).sum((1, 3)).abs().sum(0)
                ctx.progress(int(chosen[-1]) + 1, len(samples))
    finally:
        for handle in hooks:
            handle.remove()
        module.zero_grad(set_to_none=True)
    return scores


def _choose(layers: dict[str, HeadLayer], scores: dict[str, Tensor], params: PruneHeads) -> Kept:
    """The heads that stay: in each layer at least one. Scores of a layer count relative to their L2 norm."""
    ranked = []
    for position, (name, score) in enumerate(scores.items()):
        relative = (score / score.norm().clamp_min(1e-12)).tolist()
        ranked.extend((value, position, head, name) for head, value in enumerate(relative))
    kept = {name: list(range(layer.count)) for name, layer in layers.items()}
    own = {name: ratio_for(name, params.overrides) for name in layers}
    if params.scope == "local":
        own = {name: params.ratio if ratio is None else ratio for name, ratio in own.items()}
    shared = [name for name, ratio in own.items() if ratio is None]
    budget = {name: round(ratio * layers[name].count) for name, ratio in own.items() if ratio is not None}
    left = round(params.ratio * sum(layers[name].count for name in shared))
    for _, _, head, name in sorted(ranked):
        if len(kept[name]) == 1 or budget.get(name, left) == 0:
            continue
        kept[name].remove(head)
        if name in budget:
            budget[name] -= 1
        else:
            left -= 1
    return kept


@contextmanager
def _only(layers: dict[str, HeadLayer], kept: Kept) -> Iterator[None]:
    """As if the other heads gave nothing."""

    def gate(layer: HeadLayer, heads: list[int]) -> Callable[..., tuple[Tensor, ...]]:
        mask = torch.zeros(layer.count)
        mask[heads] = 1
        every = mask.repeat_interleave(layer.width)
        return lambda _, inputs: (inputs[0] * every.to(inputs[0].dtype), *inputs[1:])

    hooks = [layer.output.register_forward_pre_hook(gate(layer, kept[name])) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()
