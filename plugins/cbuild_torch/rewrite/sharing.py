"""Cross-layer sharing: Lan et al., "ALBERT", ICLR 2020: equal blocks with one set of parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.description import WEIGHTS
from ..model.edits import tie
from ..model.module import load_model, load_plain, prepare, save_model
from ..model.plain import make_plain
from .params.sharing import ShareLayers

__all__ = ["share"]

_HINT = "blocks of one group need parameters of equal names and shapes, as layers of one TransformerEncoder have"


def share(ctx: Context, model: Path, params: ShareLayers) -> dict[str, Any]:
    """Tie the parameters of each group; returns parameters and bytes of the weights before and after."""
    prepare(ctx)
    module, description = load_plain(ctx, model)
    _check(module, params.groups)
    before = _count(module)
    for group in params.groups:
        if params.init == "mean":
            _average([module.get_submodule(name) for name in group])
        tie(module, group)
    save_model(ctx, module, description, [{"op": "tie", "modules": list(group)} for group in params.groups])
    _check_tied(load_model(ctx, model), load_model(ctx, ctx.out), params)
    return {
        "parameters": _count(module),
        "parameters_before": before,
        "bytes": (ctx.out / WEIGHTS).stat().st_size,
        "bytes_before": (model / WEIGHTS).stat().st_size,
    }


def _check(module: nn.Module, groups: tuple[tuple[str, ...], ...]) -> None:
    """UserError for groups that cannot share."""
    known = [name for name, _ in module.named_modules() if name]
    if not groups:
        raise UserError("no groups to share", hint="write 'groups: [[layers.0, layers.1]]'")
    seen: list[str] = []
    for group in groups:
        for name in group:
            if name not in known:
                raise UserError(f"the model has no module '{name}'", hint=f"there are e.g. {', '.join(known[:8])}")
            inside = next((other for other in seen if f"{name}.".startswith(f"{other}.")), None)
            around = next((other for other in seen if f"{other}.".startswith(f"{name}.")), None)
            if inside is not None or around is not None:
                raise UserError(f"'{name}' is named together with '{inside or around}', which overlaps it")
            seen.append(name)
        if len(group) < 2:
            raise UserError(f"the group {list(group)} has one block, but sharing needs two", hint=_HINT)
        first, *others = (_form(module.get_submodule(name)) for name in group)
        if not first:
            raise UserError(f"'{group[0]}' has no parameters to share", hint=_HINT)
        for name, form in zip(group[1:], others, strict=True):
            if form != first:
                odd = next(key for key in {**first, **form} if first.get(key) != form.get(key))
                raise UserError(
                    f"'{name}' cannot share with '{group[0]}': '{odd}' is {_shape(form, odd)} against "
                    f"{_shape(first, odd)}",
                    hint=_HINT,
                )


def _form(block: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in block.named_parameters(remove_duplicate=False)}


def _shape(form: dict[str, tuple[int, ...]], name: str) -> str:
    return str(list(form[name])) if name in form else "missing"


@torch.no_grad()
def _average(blocks: list[nn.Module]) -> None:
    """Give the first block the mean of all."""
    others = [dict(block.named_parameters()) for block in blocks]
    for name, parameter in blocks[0].named_parameters():
        parameter.copy_(torch.stack([each[name] for each in others]).mean(0))


@torch.no_grad()
def _check_tied(before: nn.Module, after: nn.Module, params: ShareLayers) -> None:
    """UserError unless every block of a group has the parameters asked for, and all others their own."""
    make_plain(before)  # as the saved model is
    wanted = {id(value): value for value in before.parameters()}
    named: dict[str, Tensor] = {}
    for group in params.groups:
        blocks = [dict(before.get_submodule(name).named_parameters(remove_duplicate=False)) for name in group]
        for key, first in blocks[0].items():
            shared = torch.stack([block[key] for block in blocks]).mean(0) if params.init == "mean" else first
            wanted[id(first)] = shared  # also where the rest of the model has it
            named |= {f"{name}.{key}": shared for name in group}
    named = {name: wanted[id(value)] for name, value in before.named_parameters(remove_duplicate=False)} | named
    for name, value in after.named_parameters(remove_duplicate=False):
        if not torch.equal(value.nan_to_num(), named[name].nan_to_num()):
            raise UserError(
                f"share.layers gave '{name}' other values than its group's",
                hint="this is a fault of compressbuild, not of the model: please report it",
            )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
