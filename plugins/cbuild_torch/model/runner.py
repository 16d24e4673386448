"""The reference runtime of torch models: the module itself, in eval mode, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cbuild_kit import ModelInput
from cbuild_kit.interface import check_feeds
from torch import nn

from compressbuild.api import Context

from .calling import caller, named_outputs, tensors
from .description import ModelDescription
from .module import load_model, prepare

__all__ = ["TorchRunner", "load"]


class TorchRunner:
    """Runs a module: arrays in, arrays out."""

    def __init__(self, module: nn.Module, inputs: tuple[ModelInput, ...]) -> None:
        self._call = caller(module.eval(), inputs)
        self._wanted = inputs
        self._inputs = {item.name: (item.shape, item.dtype) for item in inputs}

    @property
    def inputs(self) -> Mapping[str, tuple[tuple[int | str, ...], str]]:
        return self._inputs

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            result = self._call(tensors(check_feeds(self._wanted, feeds, "the torch-model")))
        return {name: value.numpy() for name, value in named_outputs(result).items()}

    def describe(self) -> dict[str, Any]:
        return {"runtime": f"torch {torch.__version__}", "device": "cpu", "threads": torch.get_num_threads()}


def load(ctx: Context, directory: Path, settings: None = None) -> TorchRunner:
    """Runner of a ``torch-model`` artifact."""
    prepare(ctx)
    return TorchRunner(load_model(ctx, directory), ModelDescription.read(directory).inputs)
