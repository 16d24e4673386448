"""Dropping whole blocks: Sajjad et al., "On the Effect of Dropping Layers of Pre-trained Transformer Models", 2023."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from cbuild_kit import batch_indices
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.calling import caller, first_output
from ..model.description import ModelDescription
from ..model.module import prepare
from ..model.objective import Task, read_samples, task_loss
from ..model.probing import answers, first_difference, probed
from ..model.selection import check_patterns, matching
from ..model.structure import EditedModel
from .blocks import bypassed, find_blocks, take_out
from .params.layers import PruneLayers

__all__ = ["prune"]

_HINT = "prune.channels or prune.heads make blocks smaller instead"
_BATCH = 64
Measure = Callable[[Collection[str]], float]  # blocks left out → how bad that is


def prune(ctx: Context, model: Path, params: PruneLayers) -> dict[str, Any]:
    """Take blocks out. Returns the blocks and parameters before and after, and the names of those dropped."""
    prepare(ctx)
    if sum(choice is not None for choice in (params.drop, params.keep, params.count)) != 1:
        raise UserError("say which blocks to drop: one of 'drop', 'keep' and 'count'", hint="e.g. 'count: 2'")
    edited = EditedModel(ctx, model)
    description = ModelDescription.read(model)
    before = edited.cost()[1]
    blocks = _blocks(edited, params)
    dropped, change = _choose(ctx, edited.module, description, blocks, params)
    with bypassed(edited.module, dropped):
        wanted = probed(edited.module, description.inputs)
    take_out(edited, dropped, description.sparse)
    edited.save(hint=_HINT)
    other = first_difference(wanted, answers(edited.module, description.inputs))
    if other is not None:
        raise UserError(
            f"dropping {', '.join(dropped)} changes more than skipping them does: {other}",
            hint=f"its code depends on their positions, as where it looks something up by a block's number; {_HINT}",
        )
    ctx.log.info("dropped %s", ", ".join(dropped))
    measured = {} if change is None else {params.by: change}
    return {
        "blocks": len(blocks) - len(dropped),
        "blocks_before": len(blocks),
        "dropped": dropped,
        "parameters": edited.cost()[1],
        "parameters_before": before,
        **measured,
    }


def _blocks(edited: EditedModel, params: PruneLayers) -> list[str]:
    """Names of the blocks to choose from, in the model's order: the outermost that fit."""
    found = find_blocks(edited.module, edited.run)
    every = [name for name, _ in edited.module.named_modules() if name]
    check_patterns("blocks", params.blocks, every)
    if params.blocks:
        asked = [name for name in every if matching(name, params.blocks)]
        strange = [name for name in asked if name not in found]
        if strange:
            raise UserError(
                f"'{strange[0]}' cannot be left out: it is not called exactly once, or its output does not have its "
                "input's shape",
                hint=f"these can: {', '.join(list(found)[:8]) or 'none'}",
            )
    else:  # a block has layers of its own; a single layer is none
        asked = [n for n, member in found.items() if member and next(edited.module.get_submodule(n).children(), None)]
    outer = [name for name in asked if not any(name.startswith(f"{other}.") for other in asked)]
    if not outer:
        raise UserError(
            "the model has no blocks to drop: no member of a list or sequence has its input's shape as output",
            hint=f"'blocks:' names others, e.g. residual ones; {_HINT}",
        )
    return outer


def _choose(
    ctx: Context, module: nn.Module, description: ModelDescription, blocks: list[str], params: PruneLayers
) -> tuple[list[str], float | None]:
    """The blocks to drop, and how bad that was measured to be."""
    if params.count is None:
        named = params.drop if params.drop is not None else params.keep or ()
        wrong = [index for index in named if not -len(blocks) <= index < len(blocks)]
        if wrong:
            raise UserError(f"there is no block {wrong[0]}: the model has {len(blocks)} ({', '.join(blocks)})")
        listed = {blocks[index] for index in named}
        dropped = [name for name in blocks if (name in listed) == (params.drop is not None)]
        return _some(dropped, blocks), None
    if params.count >= len(blocks):
        raise UserError(f"'count: {params.count}' leaves none of {len(blocks)} blocks ({', '.join(blocks)})")
    if params.by in ("first", "last", "spread"):
        return _by_position(blocks, params.count, params.by), None
    measure = _measure(ctx, module, description, params)
    left, dropped, change = list(blocks), [], 0.0
    for number in range(params.count):
        found = []
        for name in left:
            found.append((measure([*dropped, name]), blocks.index(name)))
            ctx.progress(number + len(found) / len(left), params.count)
        change, worst = min(found)
        dropped.append(blocks[worst])
        left.remove(blocks[worst])
    return [name for name in blocks if name in dropped], change


def _some(dropped: list[str], blocks: list[str]) -> list[str]:
    if not dropped or len(dropped) == len(blocks):
        raise UserError(f"that drops {len(dropped)} of {len(blocks)} blocks ({', '.join(blocks)})")
    return dropped


def _by_position(blocks: list[str], count: int, by: str) -> list[str]:
    if by == "first":
        return blocks[:count]
    if by == "last":
        return blocks[-count:]
    kept = len(blocks) - count  # spread: what stays is as even as can be, with the first and the last
    stay = {round(i * (len(blocks) - 1) / max(1, kept - 1)) for i in range(kept)}
    return [name for position, name in enumerate(blocks) if position not in stay]


@torch.no_grad()
def _measure(ctx: Context, module: nn.Module, description: ModelDescription, params: PruneLayers) -> Measure:
    """The task's loss without blocks, or the change of the first output relative to its L2 norm."""
    if params.data is None:
        raise UserError(f"'by: {params.by}' is measured on data", hint="add 'data: DATASET', or 'by: last'")
    samples = read_samples(ctx, params.data, description.inputs, params.samples)
    call = caller(module, description.inputs)
    batches = [torch.from_numpy(indices) for indices in batch_indices(len(samples), _BATCH)]

    def outputs() -> Tensor:
        return torch.cat([first_output(call(samples.feeds(chosen))) for chosen in batches])

    if params.by == "loss":
        loss = task_loss(ctx, Task(params.loss), samples)

        def by_loss(names: Collection[str]) -> float:
            with torch.no_grad(), bypassed(module, names):
                each = [loss(call(samples.feeds(chosen)), chosen).item() * len(chosen) for chosen in batches]
            return sum(each) / len(samples)

        return by_loss
    whole = outputs()

    def by_output(names: Collection[str]) -> float:
        with torch.no_grad(), bypassed(module, names):
            return float((outputs() - whole).norm() / whole.norm().clamp_min(1e-12))

    return by_output
