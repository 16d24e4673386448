"""Calling a module by its declared inputs, and naming its outputs: one convention for training, running and export."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compressbuild.api import ModelInput, UserError

__all__ = [
    "by_keyword",
    "caller",
    "chosen_outputs",
    "first_output",
    "identical",
    "named_outputs",
    "takes_any",
    "tensors",
]


def by_keyword(module: nn.Module, names: Iterable[str]) -> bool:
    """Whether the declared inputs are all named as parameters of ``forward`` (then order does not matter)."""
    parameters = inspect.signature(module.forward).parameters
    return all(name in parameters and parameters[name].kind != inspect.Parameter.POSITIONAL_ONLY for name in names)


def takes_any(module: nn.Module) -> bool:
    """Whether ``forward`` takes any number of tensors: ``*values``."""
    parameters = inspect.signature(module.forward).parameters.values()
    return any(parameter.kind == inspect.Parameter.VAR_POSITIONAL for parameter in parameters)


def caller(module: nn.Module, inputs: Iterable[ModelInput]) -> Callable[[Mapping[str, Tensor]], Any]:
    """A function that calls ``module`` with input name → tensor: by keyword if it has those names, else by position."""
    names = tuple(item.name for item in inputs)
    if by_keyword(module, names):
        return lambda feeds: module(**{name: feeds[name] for name in names})
    return lambda feeds: module(*(feeds[name] for name in names))


def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Arrays as tensors of their own memory in standard layout (odd strides end up in exported graphs)."""
    return {
        name: torch.from_numpy(np.asarray(array, order="C")).clone(memory_format=torch.contiguous_format)
        for name, array in arrays.items()
    }


def named_outputs(result: Any) -> dict[str, Tensor]:
    """Output name → tensor: ``output`` for one tensor, ``output_0`` … for a sequence, the names of a mapping.

    transformers' ModelOutput, a mapping and a dataclass at once, may have the whole outputs of the model's parts beside
    its own (``text_model_output`` of CLIP). They are left out.
    """
    if isinstance(result, Tensor):
        return {"output": result}
    if isinstance(result, Mapping) and is_dataclass(result):
        pairs = [(str(name), value) for name, value in result.items() if not isinstance(value, Mapping)]
    elif isinstance(result, Mapping):
        pairs = [(str(name), value) for name, value in result.items()]
    elif is_dataclass(result) and not isinstance(result, type):
        pairs = [(item.name, getattr(result, item.name)) for item in fields(result)]
    elif isinstance(result, tuple | list):
        pairs = [(f"output_{index}", value) for index, value in enumerate(result)]
    else:
        raise UserError(
            f"the model returns a {type(result).__name__}", hint="return a tensor, a tuple or a mapping of tensors"
        )
    named = {name: value for name, value in pairs if value is not None}
    strange = [name for name, value in named.items() if not isinstance(value, Tensor)]
    if strange or not named:
        raise UserError(
            f"the model's output '{strange[0]}' is a {type(named[strange[0]]).__name__}"
            if strange
            else "the model returns nothing",
            hint="return a tensor, a tuple or a mapping of tensors",
        )
    return named


def first_output(result: Any) -> Tensor:
    """The output that a default loss uses: the only one, or ``logits``, or else the first."""
    named = named_outputs(result)
    return named[default_output(named)]


def chosen_outputs(result: Any, names: Iterable[str] = ()) -> dict[str, Tensor]:
    """The outputs of these names; without any the one of :func:`first_output`. UserError for an unknown name."""
    named, wanted = named_outputs(result), list(names) or [default_output(named_outputs(result))]
    strange = [name for name in wanted if name not in named]
    if strange:
        raise UserError(f"the model has no output '{strange[0]}'", hint=f"it has: {', '.join(named)}")
    return {name: named[name] for name in wanted}


def default_output(named: Iterable[str]) -> str:
    """``logits``, or else the first."""
    names = list(named)
    return "logits" if "logits" in names else names[0]


def identical(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    """Whether all outputs are the same bit for bit; a NaN is like another, which generated inputs often give."""
    return all(
        value.shape == wanted[name].shape
        and bool(((value == wanted[name]) | ((value != value) & (wanted[name] != wanted[name]))).all())
        for name, value in found.items()
    )
