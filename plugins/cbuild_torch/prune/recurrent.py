"""Pruning recurrent layers: their weights (Narang et al. 2017) or whole hidden units (Wen et al., "ISS", 2018)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.edits import resize
from ..model.module import load_plain, prepare, save_model
from ..model.selection import check_patterns, matching, ratio_for
from ..model.structure import EditedModel
from .masked import normalised
from .masks import lowest, zero
from .params.recurrent import PruneRecurrent
from .units import Cell, Followers, Unit, cells, columns_of, cut, follow, silence, unit_norms
from .zeroed import check_lowest, check_zeroed, check_zeros, ranked

__all__ = ["prune"]

_HINT = "mode: weights fits every recurrent layer"


def prune(ctx: Context, model: Path, params: PruneRecurrent) -> dict[str, Any]:
    """Zero recurrent weights, or remove hidden units. Returns counts before and after."""
    prepare(ctx)
    return _weights(ctx, model, params) if params.mode == "weights" else _units(ctx, model, params)


def _layers(module: nn.Module, params: PruneRecurrent) -> dict[str, nn.RNNBase]:
    """Name → recurrent layer to prune; UserError if there is none."""
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.RNNBase)}
    if not layers:
        raise UserError(
            "the model has no recurrent layer (torch.nn.LSTM, GRU or RNN)",
            hint="prune.channels fits convolutions, prune.heads attention, prune.magnitude every layer",
        )
    check_patterns("ignore", params.ignore, layers)
    check_patterns("overrides", params.overrides, layers)
    left = {name: layer for name, layer in layers.items() if not matching(name, params.ignore)}
    if not left:
        raise UserError("'ignore:' leaves no recurrent layer")
    return left


def _weights(ctx: Context, model: Path, params: PruneRecurrent) -> dict[str, Any]:
    module, description = load_plain(ctx, model)
    kinds = ("weight_hh", "weight_ih") if params.input_weights else ("weight_hh",)
    weights: dict[str, nn.Parameter] = {}
    own: dict[str, float] = {}
    for path, layer in _layers(module, params).items():
        found = {f"{path}.{n}": p for n, p in layer.named_parameters(recurse=False) if n.startswith(kinds)}
        weights |= found
        ratio = ratio_for(path, params.overrides)
        own |= {} if ratio is None else dict.fromkeys(found, ratio)
    magnitudes = {name: weight.detach().abs() for name, weight in weights.items()}
    facts = zero(weights, lowest(magnitudes, params.ratio, params.scope, own))
    save_model(ctx, module, description, [{"op": "sparse", "parameters": sorted({*description.sparse, *weights})}])
    before, after = check_zeroed(model, ctx.out, weights, "prune.recurrent")
    groups = ranked(weights, params.ratio, params.scope, own)
    check_zeros(ctx.out, groups, "prune.recurrent")
    for group in groups:
        check_lowest(before, after, group, "prune.recurrent")
    return facts


def _units(ctx: Context, model: Path, params: PruneRecurrent) -> dict[str, Any]:
    edited = EditedModel(ctx, model)
    module = edited.module
    layers = _layers(module, params)
    sizes = {name: layer.hidden_size for name, layer in layers.items()}
    wanted = {name: _size(name, layer, params) for name, layer in layers.items()}
    if wanted == sizes:
        raise UserError(
            f"no layer gets smaller: {', '.join(f'{name} has {size} units' for name, size in sizes.items())}",
            hint="raise 'ratio' or lower 'round-to'",
        )
    before = sum(parameter.numel() for parameter in module.parameters())
    found = follow(module, layers, edited.run)
    gone = _choose(layers, wanted, found, unit_norms(module, layers, found))
    state = cut(module, layers, found, gone)
    silence(layers, gone)
    with _over_the_rest(module, found, gone):
        silent = edited.run()
    resize(module, state, shapes=True)
    module.load_state_dict(state)
    edited.edits.append({"op": "resize"})
    edited.save(hint=f"its code fixes the size of the hidden state somewhere; {_HINT}")
    _same(silent, edited.run())
    return {
        "units": wanted,
        "units_before": sizes,
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "parameters_before": before,
    }


def _size(name: str, layer: nn.RNNBase, params: PruneRecurrent) -> int:
    """Hidden units that stay: the nearest multiple of ``round_to``, at least one."""
    if layer.proj_size:
        raise UserError(f"'{name}' projects its state (proj_size), so its units cannot be cut", hint=_HINT)
    own = ratio_for(name, params.overrides)
    share = 1 - (params.ratio if own is None else own)
    nearest = round(share * layer.hidden_size / params.round_to) * params.round_to
    return min(layer.hidden_size, max(params.round_to, nearest))


def _choose(
    layers: dict[str, nn.RNNBase], wanted: dict[str, int], found: Followers, norms: dict[Unit, float]
) -> set[Unit]:
    """The units to remove. Those that meet in one column of a following layer go together."""
    gone: set[Unit] = set()
    by_cells: dict[frozenset[Cell], list[frozenset[Unit]]] = defaultdict(list)
    for group in _groups(norms, found):
        by_cells[frozenset(unit[:3] for unit in group)].append(group)
    every = [cell for name, layer in layers.items() for cell in cells(name, layer)]
    for together, groups in by_cells.items():
        sizes = {layers[name].hidden_size - wanted[name] for name, _, _ in together}
        overlaps = any(together != other and together & other for other in by_cells)
        if len(sizes) != 1 or overlaps or any(len(group) != len(together) for group in groups):
            names = ", ".join(sorted({name for name, _, _ in together}))
            raise UserError(f"units of {names} are tied in a way that lets none be removed", hint=_HINT)
        ranked = sorted(groups, key=lambda group: (sum(norms[unit] for unit in group), sorted(group)))
        for group in ranked[: sizes.pop()]:
            gone |= group
    assert {cell for together in by_cells for cell in together} == set(every)
    return gone


def _groups(units: dict[Unit, float], found: Followers) -> list[frozenset[Unit]]:
    """Connected components of units that share a column."""
    group: dict[Unit, set[Unit]] = {unit: {unit} for unit in units}
    for columns in found.columns.values():
        owner: dict[int, Unit] = {}
        for unit, own in columns.items():
            for column in own:
                other = owner.setdefault(column, unit)
                if group[other] is not group[unit]:
                    group[other] |= group[unit]
                    for member in group[unit]:
                        group[member] = group[other]
    return list({id(members): frozenset(members) for members in group.values()}.values())


@contextmanager
def _over_the_rest(module: nn.Module, found: Followers, gone: set[Unit]) -> Iterator[None]:
    """Layer normalisation takes its mean and variance over the columns that stay."""
    hooks = []
    for path, columns in columns_of(found, gone).items():
        layer = module.get_submodule(path)
        if isinstance(layer, nn.LayerNorm):
            left = [column for column in range(layer.normalized_shape[-1]) if column not in columns]
            hooks.append(layer.register_forward_hook(normalised(left)))
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _same(silent: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """A removed unit must count as one that is always zero."""
    for name, value in silent.items():
        if value.is_floating_point() and not torch.allclose(value, found[name], atol=1e-4, rtol=1e-3):
            raise UserError(
                f"dropping units changes more than zeroing them does: output '{name}' is off by "
                f"{float((value - found[name]).abs().max()):.3g}",
                hint=_HINT,
            )
