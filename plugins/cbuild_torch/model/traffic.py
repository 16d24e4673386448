"""Bytes of weights that a run of a torch model has to read, each once."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from cbuild_kit import fitting
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from compressbuild.api import Context

from .description import ModelDescription
from .module import load_model, prepare
from .runner import TorchRunner

__all__ = ["Reads", "weights_read"]


class Reads(TorchDispatchMode):
    """Sees every operator, and so which memory it reads."""

    def __init__(self) -> None:
        super().__init__()
        self._whole: set[int] = set()  # addresses
        self._rows: dict[int, int] = {}  # address of a table → bytes looked up in it

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        table = args[0] if func is torch.ops.aten.embedding.default else None
        if table is not None:
            at = table.untyped_storage().data_ptr()
            self._rows[at] = self._rows.get(at, 0) + found.numel() * found.element_size()
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, torch.Tensor) and value is not table:
                self._whole.add(value.untyped_storage().data_ptr())
        return found

    def bytes_of(self, module: torch.nn.Module) -> int:
        """Bytes of the parameters and buffers that were read; of a table only looked up in, its rows'."""
        storages = (tensor.untyped_storage() for tensor in chain(module.parameters(), module.buffers()))
        sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
        return sum(size if at in self._whole else min(size, self._rows.get(at, 0)) for at, size in sizes.items())


def weights_read(ctx: Context, model: Path, axes: Mapping[str, int], batch: int) -> int:
    """Bytes of parameters and buffers that a run's operators read."""
    prepare(ctx)
    module = load_model(ctx, model)
    runner = TorchRunner(module, ModelDescription.read(model).inputs)
    sample = fitting(runner.inputs, axes, runner, batch=batch)
    reads = Reads()
    with reads:
        runner(sample.feeds)
    return reads.bytes_of(module)
