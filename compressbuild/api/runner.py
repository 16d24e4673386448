"""The protocol of a loaded artifact, :class:`Runner`, and what it takes: :class:`ModelInput`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

__all__ = ["ModelInput", "Runner"]


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One input of a model. ``shape``: ints, and names for dynamic axes; equal names have equal sizes. ``dtype``: the
    name of a numpy type."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} [{', '.join(map(str, self.shape))}]"


@runtime_checkable
class Runner(Protocol):
    """A loaded artifact that can be run. Arrays are numpy, shapes include the batch axis."""

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        """What it takes, in positional order."""

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Run once. ``feeds``: input name → array. Returns output name → array, in the model's order."""

    def describe(self) -> dict[str, Any]:
        """What really runs: ``{"provider": "CPUExecutionProvider", "threads": 1, …}``."""
