"""What may accompany a training: pruning that moves its masks, the projections of feature distillation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

__all__ = ["Companion"]


class Companion:
    """Called around each update of the weights; this one does nothing. An update is one step of the optimizer."""

    def modules(self) -> nn.Module | None:
        """Modules that are trained along with the model and not kept."""
        return None

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups for the optimizer, for parameters with a rate of their own."""
        return []

    def before(self, update: int) -> None:
        """The outputs of update ``update`` (counted from 0) are about to be computed."""

    def between(self) -> None:
        """The gradients are there, the weights are not changed yet."""

    def after(self) -> None:
        """The weights are changed."""

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The model as it would be if the training ended now, to measure it on validation data."""
        yield

    def settled(self, update: int) -> bool:
        """Whether its changes to the model are complete, so that epochs may be compared."""
        return True

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold of it, beside the modules' and groups' parameters."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what :meth:`state` gave."""
