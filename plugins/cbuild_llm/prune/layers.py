"""The technique ``prune.llm-layers``: fewer decoder layers, and a configuration that says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cbuild_torch.model.public import prepare
from torch import nn

from compressbuild.api import Context, UserError

from ..model.checkpoint import read_checkpoint
from ..model.comparing import HINT, check_cache, check_same
from ..model.loading import load_causal
from ..model.probing import probes, run, spread_windows
from ..model.rewrite import write_layers
from ..model.stack import LayerStack, bypassed, find_stack
from ..model.token_ids import read_token_ids
from .importance import influence, least_loss
from .params.layers import PruneLlmLayers

__all__ = ["prune"]

_SHOWN = "the hf-model"


def prune(ctx: Context, model: Path, params: PruneLlmLayers) -> dict[str, Any]:
    """Write the model without some layers.

    What was written is loaded again, and must give the logits of the source with these layers skipped, with a cache of
    keys and values as without. Returns the layers and parameters before and after, what went, and how it was chosen.
    """
    prepare(ctx)
    found = read_checkpoint(model, _SHOWN)
    source = load_causal(model, _SHOWN)
    stack = find_stack(source)
    dropped, measured = _choose(ctx, source, stack, params)
    kept = [index for index in range(len(stack)) if index not in dropped]
    config: Any = source.config
    write_layers(model, found, stack.path, config, kept, ctx.out)
    ids = probes(config, ctx.seed)
    with bypassed(stack, dropped):
        wanted = run(source, ids)
    count = len(stack)
    del source, stack
    made = load_causal(ctx.out, "the pruned model", HINT)
    check_same(wanted, run(made, ids), dropped)
    check_cache(made, ids[0])
    ctx.log.info("dropped layers %s", ", ".join(map(str, dropped)))
    return {
        "layers": len(kept),
        "layers_before": count,
        "dropped": dropped,
        "parameters": read_checkpoint(ctx.out, "the pruned model").parameters,
        "parameters_before": found.parameters,
        **measured,
    }


def _choose(
    ctx: Context, model: nn.Module, stack: LayerStack, params: PruneLlmLayers
) -> tuple[list[int], dict[str, Any]]:
    """The layers that go, in their order, and what was measured."""
    if sum(choice is not None for choice in (params.drop, params.keep, params.count)) != 1:
        raise UserError("say which layers to drop: one of 'drop', 'keep' and 'count'", hint="e.g. 'count: 2'")
    total = len(stack)
    if params.count is None:
        named = params.drop if params.drop is not None else params.keep or ()
        wrong = next((index for index in named if not -total <= index < total), None)
        if wrong is not None:
            raise UserError(f"there is no layer {wrong}: the model has {total}, from 0 to {total - 1}")
        listed = {index % total for index in named}
        dropped = [index for index in range(total) if (index in listed) == (params.drop is not None)]
        if not 0 < len(dropped) < total:
            raise UserError(f"that drops {len(dropped)} of {total} layers")
        return dropped, {}
    if params.count >= total:
        raise UserError(f"'count: {params.count}' leaves none of {total} layers")
    if params.by == "last":
        return list(range(total - params.count, total)), {}
    if params.by == "spread":
        kept = total - params.count  # as even as can be, with the first and the last
        stay = {round(index * (total - 1) / max(1, kept - 1)) for index in range(kept)}
        return [index for index in range(total) if index not in stay], {}
    if params.tokens is None:
        raise UserError(
            f"'by: {params.by}' is measured on token ids",
            hint="add 'tokens: TARGET', of a target whose last step is 'tokenize.text'; or 'by: last'",
        )
    windows = spread_windows(read_token_ids(ctx, params.tokens), params.windows)
    if params.by == "loss":
        gone, loss = least_loss(ctx, model, stack, windows, params.count)
        return sorted(gone), {"loss": loss}
    each = influence(ctx, model, stack, windows)
    least = sorted(range(total), key=lambda index: (each[index], index))[: params.count]
    return sorted(least), {"influence": [round(value, 6) for value in each]}
