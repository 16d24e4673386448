"""Layers as data: the classes of torch.nn that an edit may put into a model, each with its arguments.

``{"class": "Conv2d", "args": {"in_channels": 16, …}}``, or ``{"class": "Sequential", "layers": [...]}``. A name that is
not in this table is refused, so an artifact cannot give a model behaviour of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["ACTIVATIONS", "build", "describe", "put"]

_CONV = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "bias",
    "padding_mode",
)
ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "CELU": ("alpha", "inplace"),
    "ELU": ("alpha", "inplace"),
    "GELU": ("approximate",),
    "Hardsigmoid": ("inplace",),
    "Hardswish": ("inplace",),
    "Hardtanh": ("min_val", "max_val", "inplace"),
    "Identity": (),
    "LeakyReLU": ("negative_slope", "inplace"),
    "Mish": ("inplace",),
    "ReLU": ("inplace",),
    "ReLU6": ("inplace",),
    "SELU": ("inplace",),
    "SiLU": ("inplace",),
    "Sigmoid": (),
    "Softplus": ("beta", "threshold"),
    "Tanh": (),
}
"""Activations without weights: class name → its arguments, which are attributes of the same name."""

_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    **ACTIVATIONS,
    "Linear": ("in_features", "out_features", "bias"),
    "Conv1d": _CONV,
    "Conv2d": _CONV,
    "Conv3d": _CONV,
    "ConvTranspose1d": (*_CONV, "output_padding"),
    "ConvTranspose2d": (*_CONV, "output_padding"),
    "ConvTranspose3d": (*_CONV, "output_padding"),
}


def describe(layer: nn.Module) -> dict[str, Any]:
    """A layer as data; ValueError for a class that :func:`build` does not make."""
    name = type(layer).__name__
    if type(layer) is nn.Sequential:
        return {"class": name, "layers": [describe(part) for part in layer]}
    if type(layer) is not getattr(nn, name, None) or name not in _ARGUMENTS:
        raise ValueError(f"a {name} cannot be described as data")
    arguments = {key: getattr(layer, key) for key in _ARGUMENTS[name]}
    if "bias" in arguments:
        arguments["bias"] = arguments["bias"] is not None
    return {"class": name, "args": {k: list(v) if isinstance(v, tuple) else v for k, v in arguments.items()}}


def build(spec: Mapping[str, Any]) -> nn.Module:
    """The layer that ``spec`` describes, its weights as torch initialises them. ValueError if there is no such."""
    match spec:
        case {"class": "Sequential", "layers": list(parts)}:
            return nn.Sequential(*(build(part) for part in parts))
        case {"class": str(name), "args": dict(arguments)} if name in _ARGUMENTS:
            if set(arguments) - set(_ARGUMENTS[name]):
                raise ValueError(f"a {name} is described with arguments that it does not take: {arguments}")
            plain = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
            with torch.random.fork_rng(devices=[]):
                made: nn.Module = getattr(nn, name)(**plain)
            return made
    raise ValueError(f"model.json describes a layer that this version does not know: {dict(spec)}")


def put(module: nn.Module, path: str, layer: nn.Module) -> None:
    """Put ``layer`` where ``path`` leads, and wherever else that same layer is used.

    ``path`` may lead to an attribute that holds an activation as a function (``TransformerEncoderLayer.activation``).
    """
    parent_path, _, name = path.rpartition(".")
    parent = module.get_submodule(parent_path)
    before = getattr(parent, name)
    if not isinstance(before, nn.Module):
        if not callable(before) or name not in vars(parent):
            raise ValueError(f"'{path}' is neither a layer nor an activation function")
        delattr(parent, name)
        setattr(parent, name, layer)
        return
    layer.train(before.training)
    for owner in list(module.modules()):
        for key, child in list(owner.named_children()):
            if child is before:
                setattr(owner, key, layer)
