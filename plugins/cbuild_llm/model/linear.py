"""The linear layers of a language model's decoder, which pruning and quantization change."""

from __future__ import annotations

from collections.abc import Sequence

from cbuild_torch.model.public import check_patterns, matching
from torch import nn

from compressbuild.api import UserError

from .stack import LayerStack

__all__ = ["linear_layers"]


def linear_layers(stack: LayerStack, ignore: Sequence[str], what: str) -> dict[str, nn.Linear]:
    """Name in the model → layer, without those that a pattern of ``ignore`` matches. ``what`` is done to them: a verb.

    UserError if a pattern matches no layer, or none is left.
    """
    linear = {
        f"{stack.path}.{name}": each for name, each in stack.layers.named_modules() if isinstance(each, nn.Linear)
    }
    check_patterns("ignore", ignore, linear)
    chosen = {name: each for name, each in linear.items() if not matching(name, ignore)}
    if not chosen:
        raise UserError(
            f"no linear layer is left to {what} in '{stack.path}'",
            hint="GPT-2's Conv1D and the experts of a mixture are no linear layers"
            if not linear
            else "'ignore' names all",
        )
    return chosen
