"""The state of a training, in one safetensors file (nothing in it runs) that a killed build leaves for the next."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from compressbuild.api import Context

__all__ = ["Checkpoint", "part"]

_KEY = "state"


class Checkpoint:
    """One file of ``ctx.checkpoint``, or nothing where that is None. It is replaced whole."""

    def __init__(self, ctx: Context, stage: str) -> None:
        self._log = ctx.log
        self._path = ctx.checkpoint / f"{stage}.safetensors" if ctx.checkpoint is not None else None

    @property
    def kept(self) -> bool:
        """Whether there is a place to save to."""
        return self._path is not None

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """``facts``: JSON values; floats come back to the last bit."""
        if self._path is None:
            return
        temporary = self._path.with_suffix(".new")
        own = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
        save_file(own, temporary, metadata={_KEY: json.dumps(facts)})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(self._path)

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What was saved last; None if nothing, or nothing that can be read."""
        if self._path is None or not self._path.exists():
            return None
        try:
            with safe_open(self._path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})[_KEY])
                return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118  not a dict
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            self._log.warning("the checkpoint cannot be read, so training starts from the beginning: %s", error)
            return None


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
