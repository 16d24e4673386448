"""The hidden units of recurrent layers: where each one's output goes, and cutting it out of every tensor.

Which columns of the following layers belong to a unit is found by running the model with that unit's output set to
NaN, which spreads to whatever is computed from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from compressbuild.api import UserError

__all__ = ["Cell", "Unit", "cells", "columns_of", "cut", "follow", "silence", "unit_norms"]

_HINT = "mode: weights fits every recurrent layer"
Cell = tuple[str, int, int]  # name of the recurrent layer, its inner layer, its direction
Unit = tuple[str, int, int, int]  # and the position in the hidden state


def cells(name: str, layer: nn.RNNBase) -> list[Cell]:
    return [(name, depth, way) for depth in range(layer.num_layers) for way in range(2 if layer.bidirectional else 1)]


def _suffix(depth: int, way: int) -> str:
    return f"l{depth}{'_reverse' if way else ''}"


@dataclass(slots=True)
class Followers:
    """Layer that takes units as columns → unit → its columns."""

    columns: dict[str, dict[Unit, set[int]]] = field(default_factory=dict)


def follow(module: nn.Module, layers: Mapping[str, nn.RNNBase], run: Callable[[], dict[str, Tensor]]) -> Followers:
    """Find what takes each unit; UserError where one reaches a layer that cannot be cut."""
    found = Followers()
    for name, layer in layers.items():
        for cell in cells(name, layer):
            for position in range(layer.hidden_size):
                unit = (*cell, position)
                with _marked(module, layer, unit, found):
                    outputs = run()
                if any(value.is_floating_point() and bool(value.isnan().any()) for value in outputs.values()):
                    raise UserError(
                        f"the output of '{name}' reaches an output of the model, whose shape would change", hint=_HINT
                    )
    return found


@contextmanager
def _marked(module: nn.Module, layer: nn.RNNBase, unit: Unit, found: Followers) -> Iterator[None]:
    """Run with NaN for the output of ``unit``, and note the columns where it arrives."""

    def mark(_: nn.Module, inputs: Any, result: Any) -> Any:
        output, state = result
        states = state if isinstance(state, tuple) else (state,)
        marked = tuple(_state_with_nan(layer, value, unit) for value in states)
        return _output_with_nan(layer, output, unit), marked if isinstance(state, tuple) else marked[0]

    hooks = [layer.register_forward_hook(mark)]
    for name, other in module.named_modules():
        if other is not layer and any(True for _ in other.parameters(recurse=False)):
            if isinstance(other, nn.Linear | nn.RNNBase | nn.LayerNorm):
                hooks.append(other.register_forward_hook(_taking(name, unit, found)))
            elif other is not module and not any(True for _ in other.children()):
                hooks.append(other.register_forward_hook(_refusing(name, unit)))
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _output_with_nan(layer: nn.RNNBase, output: Any, unit: Unit) -> Any:
    _, depth, way, position = unit
    if depth + 1 < layer.num_layers:
        return output
    data = (output.data if isinstance(output, PackedSequence) else output).clone()
    data[..., way * layer.hidden_size + position] = torch.nan
    return output._replace(data=data) if isinstance(output, PackedSequence) else data


def _state_with_nan(layer: nn.RNNBase, state: Tensor, unit: Unit) -> Tensor:
    _, depth, way, position = unit
    marked = state.clone()
    marked[depth * (2 if layer.bidirectional else 1) + way, ..., position] = torch.nan
    return marked


def _taking(name: str, unit: Unit, found: Followers) -> Callable[..., Any]:
    def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        value = inputs[0].data if isinstance(inputs[0], PackedSequence) else inputs[0]
        if len(inputs) > 1 and any(bool(part.isnan().any()) for part in _flat(inputs[1])):
            raise UserError(f"'{unit[0]}' gives its state to '{name}', so both would have to change", hint=_HINT)
        columns = value.isnan().flatten(0, -2).any(0).nonzero().flatten().tolist() if value.dim() > 1 else []
        if not columns:
            return None
        if len(columns) == value.shape[-1]:
            raise UserError(f"units of '{unit[0]}' are mixed before they reach '{name}'", hint=_HINT)
        found.columns.setdefault(name, {}).setdefault(unit, set()).update(columns)
        if isinstance(layer, nn.LayerNorm):
            return value  # column by column to what comes next
        return _clean(output)

    return hook


def _refusing(name: str, unit: Unit) -> Callable[..., None]:
    def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if any(value.is_floating_point() and bool(value.isnan().any()) for value in _flat(inputs)):
            kind = type(layer).__name__
            raise UserError(f"the output of '{unit[0]}' goes to '{name}', a {kind}, which cannot be cut", hint=_HINT)

    return hook


def _flat(value: Any) -> Iterator[Tensor]:
    if isinstance(value, PackedSequence):
        yield value.data
    elif isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _flat(part)


def _clean(value: Any) -> Any:
    if isinstance(value, PackedSequence):
        return value._replace(data=torch.nan_to_num(value.data))
    if isinstance(value, Tensor):
        return torch.nan_to_num(value)
    return tuple(_clean(part) for part in value)


def _weights(layer: nn.RNNBase, depth: int, way: int) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters whose rows are gates × units."""
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        name = f"{kind}_{_suffix(depth, way)}"
        if name in dict(layer.named_parameters(recurse=False)):
            yield name, getattr(layer, name)


@torch.no_grad()
def unit_norms(module: nn.Module, layers: Mapping[str, nn.RNNBase], found: Followers) -> dict[Unit, float]:
    """L2 norm of each unit's weights: its gates, its column of the recurrent weights and of the layers that follow."""
    totals: dict[Unit, float] = {}
    for name, layer in layers.items():
        for _, depth, way in cells(name, layer):
            squares = torch.zeros(layer.hidden_size)
            for key, value in _weights(layer, depth, way):
                rows = value.unflatten(0, (-1, layer.hidden_size)).square()
                squares += rows.sum(tuple(axis for axis in range(rows.dim()) if axis != 1))
                if key.startswith("weight_hh"):
                    squares += value.square().sum(0)
            totals.update({(name, depth, way, j): float(square) for j, square in enumerate(squares)})
    for path, columns in found.columns.items():
        for matrix in _matrices(module.get_submodule(path)):
            squares = matrix.square().flatten(0, -2).sum(0) if matrix.dim() > 1 else matrix.square()
            for unit, own in columns.items():
                totals[unit] += float(squares[sorted(own)].sum())
    return {unit: total**0.5 for unit, total in totals.items()}


def _matrices(layer: nn.Module) -> Iterator[nn.Parameter]:
    """Parameters whose last axis is the layer's input."""
    for name, value in layer.named_parameters(recurse=False):
        if name == "weight" or name.startswith("weight_ih_l0") or isinstance(layer, nn.LayerNorm):
            yield value


def columns_of(found: Followers, units: Iterable[Unit]) -> dict[str, set[int]]:
    """Layer → the columns that belong to these units."""
    gone = set(units)
    return {
        path: {c for u, own in columns.items() if u in gone for c in own} for path, columns in found.columns.items()
    }


@torch.no_grad()
def silence(layers: Mapping[str, nn.RNNBase], gone: Iterable[Unit]) -> None:
    """Make these units always give zero: without weights and biases, an LSTM, GRU or tanh unit stays at zero."""
    for name, depth, way, position in gone:
        layer = layers[name]
        for _, value in _weights(layer, depth, way):
            value.unflatten(0, (-1, layer.hidden_size))[:, position] = 0.0


@torch.no_grad()
def cut(module: nn.Module, layers: Mapping[str, nn.RNNBase], found: Followers, gone: set[Unit]) -> dict[str, Tensor]:
    """The state dict without these units."""
    state = dict(module.state_dict())
    for path, columns in columns_of(found, gone).items():
        layer = module.get_submodule(path)
        for key, value in layer.named_parameters(recurse=False):
            if any(value is matrix for matrix in _matrices(layer)):
                left = [column for column in range(value.shape[-1]) if column not in columns]
                state[f"{path}.{key}"] = state[f"{path}.{key}"][..., left]
    for name, layer in layers.items():
        size = layer.hidden_size
        kept = {(d, w): [j for j in range(size) if (name, d, w, j) not in gone] for _, d, w in cells(name, layer)}
        ways = 2 if layer.bidirectional else 1
        for (depth, way), units in kept.items():
            for key, value in _weights(layer, depth, way):
                full = f"{name}.{key}"
                rows = [gate * size + unit for gate in range(value.shape[0] // size) for unit in units]
                state[full] = state[full][rows]
                if key.startswith("weight_hh"):
                    state[full] = state[full][:, units]
                elif key.startswith("weight_ih") and depth > 0:
                    state[full] = state[full][:, [w * size + unit for w in range(ways) for unit in kept[depth - 1, w]]]
    return state
