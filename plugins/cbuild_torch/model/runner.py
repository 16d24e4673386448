"""The reference runtime of torch models: the module itself, in eval mode, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cbuild_kit.interface import check_feeds
from torch import nn

from compressbuild.api import Context, ModelInput, UserError

from .calling import caller, named_outputs, tensors
from .description import ModelDescription
from .module import load_model, prepare
from .program import one_line

__all__ = ["TorchRunner", "load", "narrow_type", "plain"]


class TorchRunner:
    """Runs a module: arrays in, arrays out."""

    def __init__(self, module: nn.Module, inputs: tuple[ModelInput, ...]) -> None:
        self._call = caller(module.eval(), inputs)
        self._inputs = inputs
        self._narrow = narrow_type(module)

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        return self._inputs

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        given = tensors(check_feeds(self._inputs, feeds, "the torch-model"))
        try:
            with torch.no_grad():
                result = self._call(given)
        except RuntimeError as error:
            narrow = self._narrow is not None and any(value.dtype == torch.float32 for value in given.values())
            if not narrow or not any(kind in str(error) for kind in ("BFloat16", "Half")):
                raise
            raise UserError(
                f"the model computes in {self._narrow}, but its inputs are float32: {one_line(error)}",
                hint=f"cast in its forward, 'x = x.to(torch.{self._narrow})', or '.float()' in the factory",
            ) from error
        return {name: plain(value) for name, value in named_outputs(result).items()}

    def describe(self) -> dict[str, Any]:
        return {"runtime": f"torch {torch.__version__}", "device": "cpu", "threads": torch.get_num_threads()}


def plain(value: torch.Tensor) -> np.ndarray:
    """As numpy has it: it has no bfloat16, whose values are float32 as they are."""
    array: np.ndarray = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return array


def narrow_type(module: nn.Module) -> str | None:
    """``bfloat16`` or ``float16``, if a parameter is of that type."""
    types = {value.dtype for value in module.parameters()}
    return next((str(kind).removeprefix("torch.") for kind in (torch.bfloat16, torch.float16) if kind in types), None)


def load(ctx: Context, directory: Path, settings: None = None) -> TorchRunner:
    """Runner of a ``torch-model`` artifact."""
    prepare(ctx)
    return TorchRunner(load_model(ctx, directory), ModelDescription.read(directory).inputs)
