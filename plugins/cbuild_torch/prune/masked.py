"""The proof of a pruned model: it computes what the whole one does with the removed channels at zero."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import group_norm, layer_norm, rms_norm
from torch.nn.modules.conv import _ConvNd

__all__ = ["Removal", "difference", "informed", "normalised"]

Call = Callable[[], Mapping[str, Tensor]]


class Removal:
    """The removed channels of every layer and parameter, by their old numbers."""

    def __init__(self, module: nn.Module) -> None:
        """``module``: as it is before; a copy of it is kept."""
        self.whole = copy.deepcopy(module)
        self._names: dict[Any, str] = {layer: name for name, layer in module.named_modules()}
        self._names |= {parameter: name for name, parameter in module.named_parameters()}
        self._left: dict[tuple[str, str], list[int]] = {}
        self._carried: dict[str, list[Tensor]] = {}

    def add(self, group: Any, graph: Any) -> None:
        """Note what a group of torch-pruning is about to remove."""
        for dependency, indices in group:
            target = dependency.target.module
            if target not in self._names:
                continue  # an operation, which has no tensors
            inputs = graph.is_in_channel_pruning_fn(dependency.handler)
            side = "in" if inputs and not graph.is_out_channel_pruning_fn(dependency.handler) else "out"
            count = graph.get_in_channels(target) if side == "in" else graph.get_out_channels(target)
            if isinstance(target, nn.Parameter):
                side, count = f"axis {dependency.target.pruning_dim}", target.shape[dependency.target.pruning_dim]
            key, gone = (self._names[target], side), set(indices)
            left = self._left.setdefault(key, list(range(count)))
            self._left[key] = [channel for at, channel in enumerate(left) if at not in gone]

    @property
    def narrowed(self) -> list[str]:
        """Names of the layers with fewer outputs."""
        return [name for name, side in self._left if side == "out"]

    def mask(self) -> nn.Module:
        """The whole module, where the channels that went are zero in all that takes and gives them."""
        parameters = dict(self.whole.named_parameters())
        for (name, side), left in self._left.items():
            if side.startswith("axis "):
                _mask_parameter(parameters[name], int(side.removeprefix("axis ")), left)
                continue
            layer = self.whole.get_submodule(name)
            if side == "in" and isinstance(layer, _ConvNd | nn.Linear):
                layer.register_forward_pre_hook(self._inputs(name, left))
            elif isinstance(layer, nn.LayerNorm | nn.RMSNorm | nn.GroupNorm):
                layer.register_forward_hook(normalised(left))
            elif side == "out":
                layer.register_forward_hook(_outputs(left))
        return self.whole

    def carried(self) -> dict[str, list[Tensor]]:
        """Layer → what reached its removed inputs since the last call. It may not depend on the model's inputs."""
        found, self._carried = self._carried, {}
        return found

    def _inputs(self, name: str, left: list[int]) -> Callable[..., Any]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            value, axis = inputs[0], _axis(layer, inputs[0])
            kept = _kept(value, axis, left)
            self._carried.setdefault(name, []).append(value - kept)
            return kept, *inputs[1:]

        return hook


def informed(first: Mapping[str, list[Tensor]], second: Mapping[str, list[Tensor]]) -> list[str]:
    """Layers whose removed inputs differ between two runs on different inputs: they were not those that went."""
    return [
        name
        for name, values in first.items()
        if any(not torch.allclose(one, other, atol=1e-5) for one, other in zip(values, second[name], strict=True))
    ]


@torch.no_grad()
def difference(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """Largest of any output, as a share of that output's largest magnitude."""
    worst = 0.0
    for name, value in wanted.items():
        peak = float(value.abs().max()) if value.numel() else 0.0
        if value.is_floating_point() and peak > 0:
            worst = max(worst, float((found[name] - value).abs().max()) / peak)
    return worst


def _axis(layer: nn.Module, value: Tensor) -> int:
    if isinstance(layer, _ConvNd):
        return -(len(layer.kernel_size) + 1)
    return -1 if isinstance(layer, nn.Linear | nn.Embedding | nn.LayerNorm | nn.RMSNorm) else min(1, value.dim() - 1)


def _kept(value: Tensor, axis: int, left: list[int]) -> Tensor:
    shape = [1] * value.dim()
    shape[axis] = value.shape[axis]
    mask = torch.zeros(value.shape[axis], dtype=value.dtype)
    mask[left] = 1
    return value * mask.view(shape)


def _outputs(left: list[int]) -> Callable[..., Any]:
    return lambda layer, inputs, output: _kept(output, _axis(layer, output), left)


def normalised(left: list[int]) -> Callable[..., Any]:
    """Normalised over the channels that are left."""

    def hook(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        axis = _axis(layer, output)
        index = torch.tensor(left)
        value = inputs[0].index_select(axis, index)
        weight = None if layer.weight is None else layer.weight[index]
        bias = None if getattr(layer, "bias", None) is None else layer.bias[index]
        if isinstance(layer, nn.GroupNorm):
            value = group_norm(value, layer.num_groups, weight, bias, layer.eps)
        elif isinstance(layer, nn.RMSNorm):
            value = rms_norm(value, (len(left),), weight, layer.eps)
        else:
            value = layer_norm(value, (len(left),), weight, bias, layer.eps)
        return torch.zeros_like(output).index_copy(axis, index, value)

    return hook


@torch.no_grad()
def _mask_parameter(parameter: nn.Parameter, axis: int, left: list[int]) -> None:
    parameter.copy_(_kept(parameter, axis, left))
