"""The stack of decoder layers of a language model: where it is, and the model without some of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from compressbuild.api import UserError

__all__ = ["LayerStack", "bypassed", "find_stack", "input_of"]


@dataclass(frozen=True, slots=True)
class LayerStack:
    """``path``: of the list in the module: ``model.layers``."""

    path: str
    layers: nn.ModuleList

    def __len__(self) -> int:
        return len(self.layers)


def find_stack(model: nn.Module) -> LayerStack:
    """The one outermost list that has as many members as the configuration has layers. UserError if there is none."""
    config: Any = model.config
    count = config.get_text_config().num_hidden_layers
    found = [
        LayerStack(name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    outer = [one for one in found if not any(one.path.startswith(f"{other.path}.") for other in found)]
    if len(outer) != 1 or config.get_text_config() is not config:
        raise UserError(
            f"the decoder layers of a {type(model).__name__} are not found: {len(outer)} lists of {count} layers",
            hint="only models with one stack of layers, as Llama, Qwen, Gemma, Mistral and GPT-2 have it, are pruned",
        )
    return outer[0]


@contextmanager
def bypassed(stack: LayerStack, dropped: Collection[int]) -> Iterator[None]:
    """Within it, the layers give what they take, as if they were not there."""
    with ExitStack() as hooks:
        for index in dropped:
            hooks.enter_context(_removed(stack.layers[index].register_forward_hook(_skip, with_kwargs=True)))
        yield


@contextmanager
def _removed(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


def _skip(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    states = input_of(args, kwargs)
    return (states, *output[1:]) if isinstance(output, tuple) else states


def input_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The hidden states that a layer is called with."""
    found: Tensor = args[0] if args else kwargs["hidden_states"]
    return found
