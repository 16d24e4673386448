"""Folding batch normalisation into the layer before it: Jacob et al., "Quantization and Training", CVPR 2018, §3.2."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from compressbuild.api import Context, UserError

from ..model.layers import build, describe
from ..model.module import prepare
from ..model.selection import check_patterns, matching
from ..model.structure import EditedModel, slow_path, weight_names
from .params.batchnorm import FoldBatchnorm

__all__ = ["fold"]

_HINT = "name such batch normalisation layers in 'ignore:'"


def fold(ctx: Context, model: Path, params: FoldBatchnorm) -> dict[str, Any]:
    """Fold what can be folded; returns how many, which are left, and the largest difference of an output."""
    prepare(ctx)
    edited = EditedModel(ctx, model)
    norms = {name: layer for name, layer in edited.module.named_modules() if isinstance(layer, _BatchNorm)}
    if not norms:
        raise UserError("the model has no batch normalisation to fold", hint="leave out fold.batchnorm")
    check_patterns("ignore", params.ignore, norms)
    before = edited.run()
    pairs = _Flow(edited.module).pairs(edited.run)
    chosen = {norm: layer for norm, layer in pairs.items() if not matching(norm, params.ignore)}
    if not chosen:
        raise UserError(
            "no batch normalisation directly follows a convolution or linear layer of its own",
            hint="'ignore:' names all that could be folded" if pairs else "normalisation before a layer stays",
        )
    for done, (norm, layer) in enumerate(chosen.items()):
        edited.replace(layer, _folded(edited.module.get_submodule(layer), edited.module.get_submodule(norm)))
        edited.replace(norm, nn.Identity())
        ctx.progress(done + 1, len(chosen))
    worst = _compare(before, edited.run(), params)
    edited.save(hint=_HINT)
    return {"folded": len(chosen), "left": sorted(set(norms) - set(chosen)), "max_difference": worst}


class _Flow(TorchFunctionMode):
    """Watches one run of a model: which layer made each tensor, and who reads it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        tied = {names[0] for names in weight_names(module).values() if len(names) > 1}
        self._module = module
        self._makers = {
            name: layer
            for name, layer in module.named_modules()
            if isinstance(layer, _ConvNd | nn.Linear) and _describable(layer) and f"{name}.weight" not in tied
        }
        self._calls: dict[str, int] = {}
        self._made: dict[int, tuple[str, Tensor]] = {}  # the tensor is kept alive, so its id stays its own
        self._reads: dict[str, int] = {}
        self._sources: dict[str, list[str | None]] = {}  # of each normalisation, for each call: the layer that it reads
        self._inside = 0

    def pairs(self, run: Callable[[], Mapping[str, Tensor]]) -> dict[str, str]:
        """Normalisation → the layer whose only reader it is, and the only one that it reads, however often both are
        called (an encoder of two inputs is called twice); with fixed statistics."""
        hooks = []
        for name, layer in self._module.named_modules():
            if name in self._makers:
                hooks.append(layer.register_forward_hook(self._note_output(name)))
            elif isinstance(layer, _BatchNorm):
                hooks.append(layer.register_forward_pre_hook(self._note_norm(name)))
                hooks.append(layer.register_forward_hook(self._leave))
        try:
            with slow_path(), self:
                outputs = run()
        finally:
            for hook in hooks:
                hook.remove()
        self._read(outputs.values())
        return {
            norm: layer
            for norm, (layer, *others) in self._sources.items()
            if layer is not None
            and all(other == layer for other in others)
            and self._calls[layer] == 1 + len(others)
            and not self._reads.get(layer)
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self._inside and isinstance(result, Tensor | tuple | list):
            self._read([*args, *(kwargs or {}).values()])
        return result

    def _read(self, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, tuple | list):
                self._read(value)
            elif isinstance(value, Tensor) and id(value) in self._made:
                name = self._made[id(value)][0]
                self._reads[name] = self._reads.get(name, 0) + 1

    def _note_output(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            self._calls[name] = self._calls.get(name, 0) + 1
            self._made[id(output)] = (name, output)

        return hook

    def _note_norm(self, name: str) -> Callable[..., None]:
        def hook(norm: Any, inputs: tuple[Any, ...]) -> None:
            self._inside += 1
            source, _ = self._made.get(id(inputs[0]), (None, None)) if inputs else (None, None)
            if source is not None and not isinstance(self._makers[source], _ConvNd) and inputs[0].dim() != 2:
                source = None  # a linear's axis is another
            fixed = norm.running_mean is not None and not norm.training
            self._sources.setdefault(name, []).append(source if fixed else None)

        return hook

    def _leave(self, *_: Any) -> None:
        self._inside -= 1


def _describable(layer: nn.Module) -> bool:
    try:
        describe(layer)
    except ValueError:
        return False
    return True


@torch.no_grad()
def _folded(layer: Any, norm: Any) -> nn.Module:
    """The layer with the normalisation in its weights: w·γ/√(σ²+ε) and (b − μ)·γ/√(σ²+ε) + β, in double precision."""
    spec = describe(layer)
    spec["args"]["bias"] = True
    made: Any = build(spec).to(layer.weight.dtype)
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    made.weight.copy_(_scaled(layer, scale))
    bias = torch.zeros_like(mean) if layer.bias is None else layer.bias.double()
    shift = 0.0 if norm.bias is None else norm.bias.double()
    made.bias.copy_((bias - mean) * scale + shift)
    return made


def _scaled(layer: Any, scale: Tensor) -> Tensor:
    """The weights, each output channel times its scale. Transposed ones lie as inputs × outputs of a group × kernel."""
    weight = layer.weight.double()
    if not getattr(layer, "transposed", False):
        return weight * scale.view(-1, *[1] * (weight.dim() - 1))
    groups = weight.unflatten(0, (layer.groups, -1))
    return (groups * scale.view(layer.groups, 1, -1, *[1] * (weight.dim() - 2))).flatten(0, 1)


def _compare(before: Mapping[str, Tensor], after: Mapping[str, Tensor], params: FoldBatchnorm) -> float:
    worst = 0.0
    for name, wanted in before.items():
        difference = (after[name] - wanted).abs()
        if not torch.all(difference <= params.atol + params.rtol * wanted.abs()):
            raise UserError(
                f"folding changes output '{name}' by up to {float(difference.max()):.3g}",
                hint=f"a channel of almost no variance, most likely, which makes its folded weights huge: {_HINT}",
            )
        worst = max(worst, float(difference.max()))
    return worst
