"""Published models in a Python program: each kind's own plugin opens them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import PluginError
from .asked import resolved
from .discovery import discover

__all__ = ["load_torch"]


def load_torch(directory: str | os.PathLike[str], factory: Callable[..., Any] | None = None) -> Any:
    """The ``torch.nn.Module`` in the directory of a published ``torch-model``, in eval mode, with all that was done to
    its structure.

    ``factory``: the function that the Compressfile names for the model, imported by you; a model that a source such as
    ``huggingface`` read needs none. It must be the code that the model was built with.

        from compressbuild import load_torch
        from digits.model import build

        module = load_torch("build/slim", factory=build)

    Raises UserError if the directory is no such model or the factory does not fit it.
    """
    registry = discover()
    kind = registry.kind("torch-model")
    if kind.open is None:
        raise PluginError("the plugin that offers the kind 'torch-model' cannot open it", hint="upgrade it")
    trusted = frozenset(record.factory for record in registry.sources.values() if record.factory is not None)
    return resolved(kind.open)(Path(directory), factory, trusted)
