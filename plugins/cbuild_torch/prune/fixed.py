"""Layers whose widths channel pruning leaves alone, each with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import UserError

from ..model.attention import SplitAttention
from ..model.calling import named_outputs
from ..model.head_layers import attention_layers, head_layers
from ..model.selection import matching, other_layers, prunable_layers
from .flow import Flow, Source

__all__ = ["fixed_layers", "some_left"]

_HINT = "use prune.magnitude, which fits every model, or name layers in 'ignore:'"
Call = Callable[[dict[str, Tensor]], Any]


def fixed_layers(
    module: nn.Module, call: Call, example: dict[str, Tensor], ignore: Iterable[str]
) -> tuple[dict[nn.Module, str], set[nn.Module]]:
    """Layer → why it stays: ``ignore`` names it, its channels are the model's outputs, it is part of attention, or the
    code depends on its width. And the layers whose channels are averaged or counted."""
    layers = prunable_layers(module)
    fixed = {layer: "'ignore:' names it" for name, layer in layers.items() if matching(name, ignore)}
    flow, outputs, made_by = _watched(module, call, example, layers.values())
    reached = _reached(outputs.values(), made_by)
    for name, value in outputs.items():
        source = flow.of(value) or Source()
        if value.grad_fn is None:
            _followed(name, source, reached, layers)
        fixed |= dict.fromkeys(source.layers, f"its channels are the output '{name}'") | fixed
    fixed |= dict.fromkeys(reached, "its channels are an output") | fixed
    fixed |= dict(_attention(module)) | fixed
    fixed |= flow.kept | fixed
    some_left(module, fixed)
    return fixed, flow.blended


def some_left(module: nn.Module, fixed: Mapping[nn.Module, str]) -> None:
    """UserError, with the reasons, unless a layer can be pruned."""
    layers = prunable_layers(module)
    if all(layer in fixed for layer in layers.values()):
        reasons: dict[str, list[str]] = {}
        for name, layer in layers.items():
            reasons.setdefault(fixed[layer], []).append(f"'{name}'")
        said = (f"{', '.join(names[:3])}{' …' if len(names) > 3 else ''}: {why}" for why, names in reasons.items())
        raise UserError(f"no layer is left to prune. {'; '.join(said)}", hint=other_layers(module) or _HINT)


def _watched(
    module: nn.Module, call: Call, example: dict[str, Tensor], layers: Iterable[nn.Module]
) -> tuple[Flow, dict[str, Tensor], dict[Any, nn.Module]]:
    """One run: what was seen, the outputs, and which layer ended with which operation of the autograd graph."""
    made_by: dict[Any, nn.Module] = {}

    def note(layer: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.grad_fn is not None:
            made_by[output.grad_fn] = layer

    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.enable_grad(), Flow(module, list(layers)) as flow:
            result = call(example)
    finally:
        for hook in hooks:
            hook.remove()
    return flow, named_outputs(result), made_by


def _reached(outputs: Iterable[Tensor], made_by: Mapping[Any, nn.Module]) -> list[nn.Module]:
    """The last layers with weights on every path to an output, found by walking the autograd graph back from it."""
    pending, seen, found = [value.grad_fn for value in outputs], set(), []
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in made_by:
            found.append(made_by[node])
        else:
            pending.extend(function for function, _ in node.next_functions)
    return found


def _followed(output: str, source: Source, reached: list[nn.Module], layers: Mapping[str, nn.Module]) -> None:
    """UserError for an output without a gradient, unless others lead to every layer that makes it."""
    lost = [name for name, layer in layers.items() if layer in source.layers and layer not in reached]
    if lost:
        raise UserError(
            f"the output '{output}' has no gradient: {source.cut or 'an operation'} ends it after "
            f"{' and '.join(map(repr, lost))}, and prune.channels follows channels by their gradients",
            hint="return the scores as they are, without no_grad, detach, argmax or topk, which belong to what calls "
            "the model; prune.magnitude fits every model",
        )


def _attention(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Attention layers and their projections: their widths are heads × size. prune.heads can change those that it
    knows."""
    known = head_layers(module)
    for layer in module.modules():
        if isinstance(layer, nn.MultiheadAttention | SplitAttention):
            yield from dict.fromkeys((layer, *layer.children()), "it is part of attention: prune.heads").items()
    for path, parts in attention_layers(module).items():
        why = "it is part of attention" + (": prune.heads" if path in known else "")
        yield from dict.fromkeys(parts, why).items()
