"""A published ``hf-model`` as what a program works with."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from .checkpoint import read_checkpoint
from .loading import load_causal

__all__ = ["open_model"]


def open_model(directory: Path, factory: Callable[..., Any] | None, trusted: Collection[str]) -> Any:
    """The model of transformers, in float32, in eval mode. UserError for a directory that holds none."""
    read_checkpoint(directory, str(directory))
    return load_causal(directory, str(directory))
