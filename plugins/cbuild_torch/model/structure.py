"""What structural edits share: how layers are used, what they cost, how to replace them and save the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from cbuild_kit import example_arrays
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from .calling import caller, identical, named_outputs, tensors
from .layers import describe, put
from .module import load_model, load_plain, save_model
from .selection import prunable_layers

__all__ = ["BROKEN", "EditedModel", "Use", "slow_path", "uses", "weight_names"]

BROKEN = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError)
"""What the code of a model raises where an edit took away what it counts on."""


@dataclass(frozen=True, slots=True)
class Use:
    """How a layer was called in one run of the model: the shape it took first, and the elements it gave over all."""

    calls: int
    shape: tuple[int, ...]
    outputs: int


class EditedModel:
    """A model whose layers are replaced: its module, an example (batch 1) to run it on, and the edits so far."""

    def __init__(self, ctx: Context, model: Path) -> None:
        self.module, self._description = load_plain(ctx, model)
        self.edits: list[dict[str, Any]] = []
        self._ctx = ctx
        self._example = tensors(example_arrays(self._description.inputs, batch=1, seed=0))
        self._shapes = self._shapes_of(self.run())

    @torch.no_grad()
    def run(self, module: nn.Module | None = None) -> dict[str, Tensor]:
        """Outputs on the example."""
        return named_outputs(caller(module or self.module, self._description.inputs)(self._example))

    def uses(self) -> dict[str, Use]:
        return uses(self.module, self.run)

    def cost(self) -> tuple[int, int]:
        """MACs of the convolutions and linear layers for one sample, and parameters."""
        layers, macs = prunable_layers(self.module), 0
        for name, use in self.uses().items():
            if name in layers:
                weight = layers[name].weight
                elements = use.outputs
                if getattr(layers[name], "transposed", False):
                    elements = use.calls * torch.Size(use.shape).numel()
                macs += elements * weight[0].numel()
        return macs, sum(parameter.numel() for parameter in self.module.parameters())

    def replace(self, path: str, layer: nn.Module) -> None:
        """Put ``layer``, made of classes that :mod:`cbuild_torch.model.layers` knows, in place of another."""
        self.edits.append({"op": "replace", "module": path, "layer": describe(layer)})
        put(self.module, path, layer)

    def set(self, path: str, name: str, value: bool | int | float | str) -> None:
        """Give a layer's plain attribute another value."""
        layer = self.module.get_submodule(path)
        if getattr(layer, name) != value:
            self.edits.append({"op": "set", "module": path, "attribute": name, "value": value})
            setattr(layer, name, value)

    def save(self, *, hint: str) -> None:
        """Write the edited model, proven to run, to keep its outputs' shapes and to load back bit for bit."""
        self._leave_fast_path()
        try:
            found = self.run()
        except BROKEN as error:
            raise UserError(f"the edited model does not run: {error}", hint=hint) from error
        if self._shapes_of(found) != self._shapes:
            raise UserError(f"the outputs' shapes change from {self._shapes} to {self._shapes_of(found)}", hint=hint)
        save_model(self._ctx, self.module, self._description, self.edits)
        loaded = self.run(load_model(self._ctx, self._ctx.out))
        if not identical(found, loaded):
            raise UserError("the edited model cannot be described by named edits and its weights", hint=hint)

    def _leave_fast_path(self) -> None:
        """torch's fused encoder reads its layers' weights instead of calling them: switch it off where one changed."""
        for path, layer in self.module.named_modules():
            if isinstance(layer, nn.TransformerEncoderLayer):
                if not all(type(part) is nn.Linear for part in (layer.linear1, layer.linear2)):
                    self.set(path, "activation_relu_or_gelu", 0)
            elif isinstance(layer, nn.TransformerEncoder):
                inner = [part for part in layer.layers if isinstance(part, nn.TransformerEncoderLayer)]
                if not all(type(part.linear1) is type(part.linear2) is nn.Linear for part in inner):
                    self.set(path, "use_nested_tensor", False)

    @staticmethod
    def _shapes_of(outputs: dict[str, Tensor]) -> dict[str, list[int]]:
        return {name: list(value.shape) for name, value in outputs.items()}


def uses(module: nn.Module, run: Callable[[], Any]) -> dict[str, Use]:
    """Layer name → how ``run()`` calls it, for layers that take and give one tensor; the others are left out.

    A layer whose weight its owner reads instead of calling it (``MultiheadAttention.out_proj``) is not among them.
    """
    found: dict[str, Use] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if len(inputs) == 1 and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                before = found.get(name, Use(0, tuple(inputs[0].shape), 0))
                found[name] = Use(before.calls + 1, before.shape, before.outputs + output.numel())

        return hook

    hooks = [layer.register_forward_hook(note(name)) for name, layer in module.named_modules() if name]
    try:
        with slow_path():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return found


@contextmanager
def slow_path() -> Iterator[None]:
    """Without torch's fused encoder, which calls none of its layers and fails on padded batches with hooks."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def weight_names(module: nn.Module) -> dict[int, list[str]]:
    """id of a parameter → the names it has: more than one where it is tied."""
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return names
