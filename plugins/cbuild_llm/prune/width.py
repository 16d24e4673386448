"""The technique ``prune.llm-width``: fewer channels, neurons and heads, and a configuration that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from cbuild_huggingface.model.factory import configured
from cbuild_huggingface.model.loading import ORIGIN
from cbuild_torch.model.public import prepare
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.checkpoint import Checkpoint, read_checkpoint
from ..model.comparing import check_cache, check_narrower
from ..model.loading import load_causal
from ..model.probing import probes, run, spread_windows
from ..model.rewrite import as_files, write_narrower
from ..model.stack import find_stack
from ..model.token_ids import read_token_ids
from ..model.widths import Axis, Kind, Widths, axes_of, read_widths
from .activity import Activity, measure
from .params.width import PruneLlmWidth

__all__ = ["prune"]

_SHOWN = "the hf-model"
_EPSILON = "rms_norm_eps"


def prune(ctx: Context, model: Path, params: PruneLlmWidth) -> dict[str, Any]:
    """Write the model with the most active channels, neurons and heads.

    What was written is loaded again, and must give the logits of the source with the others masked, with a cache of
    keys and values as without. Returns the widths and parameters before and after, and the share of the activity that
    was kept.
    """
    prepare(ctx)
    found = read_checkpoint(model, _SHOWN)
    source = load_causal(model, _SHOWN)
    stack, config = find_stack(source), source.config
    before = read_widths(config)
    after = _wanted(before, params)
    said = _config(found, config, before, after)
    axes = axes_of(source, stack, before)
    _check_files(found, source, axes)
    norms = [name.removesuffix(".weight") for name, its in axes.items() if its == (Axis(0, "hidden", None),)]
    norms = [name for name in norms if name.endswith("norm")]
    windows = spread_windows(read_token_ids(ctx, params.tokens), params.windows)
    activity = measure(ctx, source, stack, norms, before, windows)
    kept = _chosen(activity, before, after)
    scales = _scales(activity, kept.hidden, before, after)
    values = {f"{name}.weight": _scaled(source, f"{name}.weight", scale, found) for name, scale in scales.items()}

    def narrower(name: str, tensor: Tensor) -> Tensor:
        tensor = values[name].to(tensor.dtype) if name in values else tensor
        for axis in axes[name]:
            tensor = tensor.index_select(axis.number, kept.along(axis, before))
        return tensor.contiguous()

    write_narrower(model, found, said, narrower, ctx.out)
    ids = probes(config, ctx.seed)
    _mask(source, axes, kept, before, after, values)
    wanted = run(source, ids)
    del source, stack
    made = load_causal(ctx.out, "the pruned model", "its code takes a width from elsewhere: prune the others")
    check_narrower(wanted, run(made, ids))
    check_cache(made, ids[0])
    return {
        **{name: getattr(after, name) for name in _KINDS},
        **{f"{name}_before": getattr(before, name) for name in _KINDS},
        "activity_kept": kept.share(activity),
        "parameters": read_checkpoint(ctx.out, "the pruned model").parameters,
        "parameters_before": found.parameters,
    }


_KINDS: tuple[Kind, ...] = ("hidden", "intermediate", "heads", "kv_heads")


@dataclass(frozen=True, slots=True)
class _Kept:
    """Positions that stay, in their order. ``hidden``: H′; the others L×…, for each layer."""

    hidden: Tensor
    intermediate: Tensor
    heads: Tensor
    kv_heads: Tensor

    def along(self, axis: Axis, widths: Widths) -> Tensor:
        """Positions along an axis of a weight."""
        whole: Tensor = getattr(self, axis.kind)
        chosen = whole if axis.layer is None else whole[axis.layer]
        if axis.kind in ("heads", "kv_heads"):
            return (chosen[:, None] * widths.head_dim + torch.arange(widths.head_dim)).flatten()
        return chosen

    def share(self, activity: Activity) -> dict[str, float]:
        """Of the activity of channels, neurons and query heads: what those have that stay."""
        parts = {
            "hidden": (activity.channels, self.hidden),
            "intermediate": (activity.neurons, self.intermediate),
            "heads": (activity.heads, self.heads),
        }
        return {name: float(each.gather(-1, at).sum() / each.sum()) for name, (each, at) in parts.items()}


def _wanted(before: Widths, params: PruneLlmWidth) -> Widths:
    """The widths after it. UserError for those that cannot be."""
    if not any((params.hidden, params.intermediate, params.heads, params.kv_heads)):
        raise UserError("no width is given", hint="e.g. 'intermediate: 1024'; also 'hidden', 'heads', 'kv-heads'")
    for name in _KINDS:
        value, most = getattr(params, name), getattr(before, name)
        if value is not None and value > most:
            raise UserError(f"'{name.replace('_', '-')}: {value}' is more than the model has: {most}")
    kv_heads = params.kv_heads
    if kv_heads is None:
        alone = params.heads is not None and before.group == 1  # each query head has keys of its own
        kv_heads = params.heads if alone and params.heads else before.kv_heads
    heads = params.heads or kv_heads * before.group
    if heads % kv_heads or heads // kv_heads > before.group:
        raise UserError(
            f"{heads} query heads cannot share {kv_heads} heads of keys: each of them serves the same number, and at "
            f"most the {before.group} of the model",
            hint=f"'heads: {kv_heads * max(1, min(before.group, heads // kv_heads))}' would do; or choose 'kv-heads'",
        )
    after = replace(
        before,
        hidden=params.hidden or before.hidden,
        intermediate=params.intermediate or before.intermediate,
        heads=heads,
        kv_heads=kv_heads,
    )
    if after == before:
        raise UserError("these are the widths that the model has: nothing would be pruned")
    return after


def _config(found: Checkpoint, config: Any, before: Widths, after: Widths) -> dict[str, Any]:
    """What ``config.json`` says of the new widths. UserError if transformers does not take them."""
    more: dict[str, Any] = after.config()
    if after.hidden != before.hidden and isinstance(getattr(config, _EPSILON, None), float):
        more[_EPSILON] = getattr(config, _EPSILON) * before.hidden / after.hidden
    said = {**found.config, **more}
    try:
        configured({name: value for name, value in said.items() if name not in ORIGIN})
    except (ValueError, StrictDataclassError) as error:
        raise UserError(
            f"transformers takes no configuration with these widths: {' '.join(str(error).split())[-200:]}",
            hint="choose 'hidden' as a multiple of the query heads",
        ) from error
    return said


def _check_files(found: Checkpoint, model: nn.Module, axes: Mapping[str, Any]) -> None:
    named = dict(model.named_parameters(remove_duplicate=False))
    for name, tensor in found.tensors.items():
        if name not in axes or tensor.shape != tuple(named[name].shape):
            raise UserError(
                f"the files have a weight '{name}' that the module does not have in that shape",
                hint="load the model with transformers 5, and save it again with save_pretrained",
            )


def _chosen(activity: Activity, before: Widths, after: Widths) -> _Kept:
    """The most active. Of equal ones those further left stay."""
    groups = activity.heads.reshape(-1, before.kv_heads, before.group)
    kv_heads = _most(groups.sum(-1), after.kv_heads)
    inner = _most(groups, after.group)  # in each group, L×kv×group′
    chosen = inner.gather(1, kv_heads[..., None].expand(-1, -1, after.group))
    heads = (kv_heads[..., None] * before.group + chosen).flatten(1)
    return _Kept(_most(activity.channels, after.hidden), _most(activity.neurons, after.intermediate), heads, kv_heads)


def _most(values: Tensor, count: int) -> Tensor:
    order = values.argsort(dim=-1, descending=True, stable=True)
    return order[..., :count].sort(dim=-1).values


def _scales(activity: Activity, kept: Tensor, before: Widths, after: Widths) -> dict[str, float]:
    """By what each norm's weight is multiplied, so that the channels that stay come out as large as before.

    RMSNorm divides by the root of the mean of squares, and the mean is now one over fewer channels, without the
    squares of those that went.
    """
    if after.hidden == before.hidden:
        return {}
    found = {}
    for name, squares in activity.squares.items():
        share = float(squares[kept].sum() / squares.sum()) if float(squares.sum()) > 0 else 1.0
        found[name] = (share * before.hidden / after.hidden) ** 0.5
    return found


def _scaled(model: nn.Module, name: str, scale: float, found: Checkpoint) -> Tensor:
    """The norm's weight times the scale, as the files will hold it."""
    return as_files(model.get_parameter(name).detach() * scale, found, name)


@torch.no_grad()
def _mask(
    model: nn.Module,
    axes: Mapping[str, tuple[Axis, ...]],
    kept: _Kept,
    before: Widths,
    after: Widths,
    values: Mapping[str, Tensor],
) -> None:
    """Make the source what the narrower model must be: with zeros where something went, in all its old shapes."""
    for name, parameter in model.named_parameters():
        if name in values:
            parameter.copy_(values[name] / (before.hidden / after.hidden) ** 0.5)
        for axis in axes[name]:
            stays = torch.zeros(parameter.shape[axis.number], dtype=torch.bool)
            stays[kept.along(axis, before)] = True
            gone = torch.nonzero(~stays).flatten()
            parameter.index_fill_(axis.number, gone, 0.0)
