"""Replacing activations by class, in layers and in attributes that hold one as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from compressbuild.api import Context, UserError

from ..model.layers import ACTIVATIONS
from ..model.module import prepare
from ..model.selection import check_patterns, matching
from ..model.structure import EditedModel
from .params.activations import ReplaceActivation

__all__ = ["replace"]

_FUNCTIONS: dict[Callable[..., Any], str] = {
    torch.relu: "ReLU",
    torch.sigmoid: "Sigmoid",
    torch.tanh: "Tanh",
    functional.relu: "ReLU",
    functional.relu6: "ReLU6",
    functional.gelu: "GELU",
    functional.silu: "SiLU",
    functional.mish: "Mish",
    functional.elu: "ELU",
    functional.selu: "SELU",
    functional.celu: "CELU",
    functional.leaky_relu: "LeakyReLU",
    functional.hardswish: "Hardswish",
    functional.hardsigmoid: "Hardsigmoid",
    functional.softplus: "Softplus",
    functional.sigmoid: "Sigmoid",
    functional.tanh: "Tanh",
}
_FUSED = {"ReLU": 1, "GELU": 2}  # what TransformerEncoderLayer.activation_relu_or_gelu says


def replace(ctx: Context, model: Path, params: ReplaceActivation) -> dict[str, Any]:
    """Replace every activation whose class ``map`` names; returns the layers, as class → names."""
    prepare(ctx)
    _check(params)
    edited = EditedModel(ctx, model)
    found = dict(_activations(edited.module))
    check_patterns("ignore", params.ignore, found)
    present = sorted(set(found.values()) & {*ACTIVATIONS, *_custom(edited.module)})
    for name in params.map:
        if name not in found.values():
            raise UserError(
                f"'map: {name}' is the class of no layer",
                hint=f"there are {', '.join(present)}" if present else "activations called as functions stay",
            )
        if any(
            edited.module.get_submodule(path).state_dict() for path in _layers(edited.module, name) if name != "PReLU"
        ):
            raise UserError(f"'map: {name}' is not an activation: its layers have weights")
    chosen = {path: name for path, name in found.items() if name in params.map and not matching(path, params.ignore)}
    if not chosen:
        raise UserError("'ignore:' leaves no activation to replace")
    for path, name in chosen.items():
        edited.replace(path, _made(edited.module, path, params.map[name]))
        _tell_owner(edited, path, params.map[name])
    _check_replaced(edited.module, found, {path: params.map[name] for path, name in chosen.items()})
    edited.save(hint="name the layers to leave alone in 'ignore:'")
    replaced: dict[str, list[str]] = {}
    for path, name in chosen.items():
        replaced.setdefault(name, []).append(path)
    return {"replaced": replaced, "count": len(chosen)}


def _check(params: ReplaceActivation) -> None:
    for name, other in params.map.items():
        if other not in ACTIVATIONS:
            raise UserError(f"'{name}: {other}' names no activation", hint=f"there are {', '.join(ACTIVATIONS)}")
        if name == other:
            raise UserError(f"'{name}: {other}' changes nothing")


def _activations(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Path → class of each layer without layers of its own, and of each activation held as a function."""
    for path, layer in module.named_modules():
        if path and next(layer.children(), None) is None:
            yield path, type(layer).__name__
        for name, value in vars(layer).items():
            if callable(value) and value in _FUNCTIONS:
                yield f"{path}.{name}" if path else name, _FUNCTIONS[value]


def _check_replaced(module: nn.Module, before: dict[str, str], wanted: dict[str, str]) -> None:
    """UserError unless these activations, and no others, are of another class."""
    after = dict(_activations(module))
    gone = tuple(f"{path}." for path in wanted)  # what an activation that was replaced had inside
    kept = {path: name for path, name in before.items() if not path.startswith(gone)}
    odd = next((path for path, name in {**kept, **wanted}.items() if after.get(path) != name), None)
    if odd is not None:
        raise UserError(
            f"'{odd}' became {after.get(odd)}, not {wanted.get(odd, before[odd])}",
            hint="this is a fault of compressbuild, not of the model: please report it",
        )


def _layers(module: nn.Module, kind: str) -> list[str]:
    return [path for path, layer in module.named_modules() if path and type(layer).__name__ == kind]


def _custom(module: nn.Module) -> set[str]:
    """Classes of the model's own that have nothing but a forward: they may be activations."""
    leaves = (layer for layer in module.modules() if next(layer.children(), None) is None)
    return {
        type(layer).__name__
        for layer in leaves
        if not type(layer).__module__.startswith("torch.") and not layer.state_dict()
    }


def _made(module: nn.Module, path: str, name: str) -> nn.Module:
    """The new activation, in place where the old one was: an in-place one must not be put over a value in use."""
    layer: nn.Module = getattr(nn, name)()
    parent, _, attribute = path.rpartition(".")
    before = getattr(module.get_submodule(parent), attribute)
    if "inplace" in ACTIVATIONS[name]:
        layer.inplace = bool(getattr(before, "inplace", False))  # type: ignore[assignment]
    return layer


def _tell_owner(edited: EditedModel, path: str, name: str) -> None:
    """torch's fused encoder reads a number that stands for its layer's activation."""
    parent = path.rpartition(".")[0]
    if isinstance(edited.module.get_submodule(parent), nn.TransformerEncoderLayer):
        edited.set(parent, "activation_relu_or_gelu", _FUSED.get(name, 0))
