"""Structured channel pruning through a dependency graph: Fang et al., "DepGraph", CVPR 2023 (torch-pruning)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch_pruning as tp
from cbuild_kit import example_arrays
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from compressbuild.api import Context, UserError

from ..model.calling import caller, identical, named_outputs, tensors
from ..model.description import ModelDescription
from ..model.edits import attribute_edits, replay, resize
from ..model.module import load_model, load_plain, make_module, prepare, save_model, weights_of
from ..model.objective import Loss, Samples, Task, read_samples, task_loss
from ..model.probing import varied
from ..model.selection import check_patterns, matching, prunable_layers, ratio_for
from ..model.structure import BROKEN
from .fixed import fixed_layers, some_left
from .groups import nearest, noted, obstacle, parts_counted, tied
from .masked import Removal, difference, informed
from .params.channels import PruneChannels
from .recovery import recover

__all__ = ["prune"]

_SAME = 1e-3  # of an output's magnitude: sums in another order
_HINT = "use prune.magnitude, which fits every model, or name layers in 'ignore:'"


class _Pruner(tp.pruner.BasePruner):  # type: ignore[misc]
    """Keeps the nearest multiple of ``round_to`` that the layer's groups divide, at least one of it. The library rounds
    down, even to nothing, and takes what it removes of each group for what it removes of all. ``asked``: the group that
    is being pruned."""

    asked: Any
    obstacle: Callable[..., UserError | None]

    def _is_atten_group(self, group: Any) -> Any:
        self.asked = group  # that _round_to is called for, without passing it
        return super()._is_atten_group(group)

    def _round_to(self, n_pruned: int, current_channels: int, round_to: int) -> int:
        groups = self._get_channel_groups(self.asked)
        step = math.lcm(round_to, groups)
        kept = round((current_channels - n_pruned * groups) / step) * step
        return (current_channels - min(current_channels, max(kept, step))) // groups


def prune(ctx: Context, model: Path, params: PruneChannels) -> dict[str, Any]:
    """Remove channels; returns parameters and MACs (batch 1) before and after, and the widths achieved."""
    prepare(ctx)
    module, description = load_plain(ctx, model)
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    _require(module)
    call = caller(module, description.inputs)
    example = tensors(example_arrays(description.inputs, batch=1, seed=0))
    samples = _check(ctx, module, description, params)
    reasons, blended = fixed_layers(module, call, example, params.ignore)
    shapes = _shapes(call, example)
    before, widths = _cost(module, call, example), _widths(module)
    try:
        pruner = _pruner(module, call, example, params, reasons)
    except BROKEN as error:
        raise _strange(module, error) from error
    some_left(module, reasons)
    recovered: dict[str, Any] = {}
    for step in range(params.steps):
        if samples is not None:
            _gradients(module, call, samples, task_loss(ctx, Task(params.loss), samples), reasons)
        removal = _step(pruner, module)
        module.zero_grad(set_to_none=True)
        _runs(module, call, example, shapes, removal.narrowed)
        _same(removal, module, description, blended)
        if step + 1 < params.steps:
            _require(module, frozen)
            recovered = recover(ctx, module, description, params, step)
            _require(module)
        ctx.progress(step + 1, params.steps)
    after = _cost(module, call, example)
    if after[1] == before[1] and (params.ratio or params.overrides):
        widths = {
            name: layer.weight.shape[0] for name, layer in prunable_layers(module).items() if layer not in reasons
        }
        found = ", ".join(f"'{name}' has {width}" for name, width in list(widths.items())[:4])
        raise UserError(
            f"no channel can be removed: widths must stay multiples of {params.round_to} and of the layer's groups: "
            f"{found}",
            hint="raise 'ratio' or lower 'round-to'; if the code ties the widths, use prune.magnitude",
        )
    _save(ctx, module, description, call, example)
    return {
        "parameters": after[1],
        "parameters_before": before[1],
        "macs": after[0],
        "macs_before": before[0],
        "removed": round(1 - after[1] / before[1], 6),
        **_achieved(ctx, module, widths, reasons, params),
        **{name: value for name, value in recovered.items() if name == "concern"},
    }


def _widths(module: nn.Module) -> dict[str, int]:
    return {name: _width(layer) for name, layer in prunable_layers(module).items()}


def _width(layer: Any) -> int:
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)


def _achieved(
    ctx: Context, module: nn.Module, before: dict[str, int], reasons: dict[nn.Module, str], params: PruneChannels
) -> dict[str, Any]:
    """``widths``: layer → width before and after, and what the ratio asks of it alone (with ``scope: local``);
    ``kept``: layer → why it stays."""
    layers, widths = prunable_layers(module), {}
    for name, layer in layers.items():
        if layer in reasons:
            continue
        found = {"before": before[name], "after": _width(layer)}
        own = ratio_for(name, params.overrides)
        if own is not None or params.scope == "local":
            ratio = min(params.ratio if own is None else own, params.max_ratio)
            found["asked"] = round(before[name] * (1 - ratio))
        widths[name] = found
    kept = {name: reasons[layer] for name, layer in layers.items() if layer in reasons}
    ctx.log.info("%s", "; ".join(f"{name}: {w['after']} of {w['before']}" for name, w in widths.items()))
    ctx.log.info("left alone: %s", "; ".join(f"{name} ({why})" for name, why in kept.items()))
    return {"widths": widths, "kept": kept}


def _require(module: nn.Module, frozen: Iterable[str] = ()) -> None:
    """Have every weight but these take part in gradients, along which layers are found to depend on each other."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(parameter.is_floating_point() and name not in frozen)


def _check(ctx: Context, module: nn.Module, description: ModelDescription, params: PruneChannels) -> Samples | None:
    """Refuse what does not fit, before any work; the samples to rank on, if the criterion wants any."""
    layers = prunable_layers(module)
    check_patterns("ignore", params.ignore, layers)
    check_patterns("overrides", params.overrides, layers)
    for name, layer in module.named_modules():
        if isinstance(layer, nn.RNNBase):
            raise UserError(
                f"prune.channels cannot prune {type(layer).__name__} '{name}', whose sizes are tied",
                hint="use prune.recurrent or prune.magnitude",
            )
    if params.criterion == "bn-scale" and not any(isinstance(m, _BatchNorm) and m.affine for m in module.modules()):
        raise UserError(
            "criterion bn-scale ranks by batch normalisation, but the model has no such layer",
            hint="use 'criterion: l2'",
        )
    if params.recover_epochs and params.steps == 1:
        raise UserError(
            "'recover-epochs' trains between rounds, but 'steps' is 1",
            hint="set 'steps:' to 2 or more, or add the step finetune after this one",
        )
    if params.recover_epochs and params.data is None:
        raise UserError("'recover-epochs' needs labelled data", hint="add 'data: DATASET'")
    if params.criterion != "taylor":
        return None
    if params.data is None:
        raise UserError("criterion taylor needs labelled data for its gradients", hint="add 'data: DATASET'")
    return read_samples(ctx, params.data, description.inputs, params.samples)


def _pruner(
    module: nn.Module,
    call: Callable[[dict[str, Tensor]], Any],
    example: dict[str, Tensor],
    params: PruneChannels,
    fixed: dict[nn.Module, str],
) -> _Pruner:
    """The pruner of the layers that are not ``fixed``, to which it adds those that are tied to them."""
    importance = {
        "l1": lambda: tp.importance.MagnitudeImportance(p=1),
        "l2": lambda: tp.importance.MagnitudeImportance(p=2),
        "taylor": tp.importance.TaylorImportance,
        "bn-scale": tp.importance.BNScaleImportance,
    }[params.criterion]()
    names = {layer: name for name, layer in prunable_layers(module).items()}
    own: dict[nn.Module, float] = {}
    for pattern, ratio in reversed(params.overrides.items()):  # the first pattern that matches wins
        own.update({layer: ratio for layer, name in names.items() if matching(name, [pattern])})
    with warnings.catch_warnings(), noted(module) as made_by, parts_counted():
        warnings.simplefilter("ignore")  # about parameters outside of layers, which it handles
        pruner = _Pruner(
            module,
            example,
            importance,
            global_pruning=params.scope == "global",
            pruning_ratio=params.ratio,
            pruning_ratio_dict=own,
            max_pruning_ratio=params.max_ratio,
            iterative_steps=params.steps,
            ignored_layers=list(fixed),
            round_to=params.round_to,
            in_channel_groups={},  # the library's default is one dict for all
            out_channel_groups={},
            num_heads={},
            forward_fn=lambda _, feeds: call(feeds),
            output_transform=lambda result: [v for v in named_outputs(result).values() if v.grad_fn is not None],
        )
    pruner.obstacle = partial(obstacle, made_by=made_by, names=names)
    with parts_counted():
        groups = list(pruner.DG.get_all_groups(ignored_layers=list(fixed), root_module_types=pruner.root_module_types))
        for found in filter(None, map(pruner.obstacle, groups)):
            raise found
        fixed.update(tied(pruner.DG, groups, names, fixed))
    return pruner


def _step(pruner: _Pruner, module: nn.Module) -> Removal:
    """Prune all groups once; what went."""
    removal = Removal(module)
    try:
        with parts_counted():
            for group in pruner.step(interactive=True):
                removal.add(group, pruner.DG)
                group.prune()
    except BROKEN as error:
        found = pruner.obstacle(pruner.asked, failed=True)
        if found is not None:
            raise found from error
        raise _strange(module, error, pruner.asked) from error
    return removal


def _strange(module: nn.Module, error: Exception, group: Any = None) -> UserError:
    """The error for a failure of the library. ``group``: what it was about to prune."""
    names = {layer: name for name, layer in prunable_layers(module).items()}
    transposed = [
        name
        for layer, name in names.items()
        if isinstance(layer, _ConvTransposeNd) and 1 < layer.groups < layer.in_channels
    ]
    tied = dict.fromkeys(names[each.target.module] for each, _ in group or () if each.target.module in names)
    why = f"; it does not know transposed convolutions with groups: {', '.join(transposed)}" if transposed else ""
    place = f" between {' and '.join(map(repr, tied))}" if tied else ""
    hint = f"'ignore: [{next(iter(tied))}]' leaves that width as it is; {_HINT}" if tied else _HINT
    return UserError(f"torch-pruning cannot follow this architecture{place}: {error}{why}", hint=hint)


def _same(
    removal: Removal,
    module: nn.Module,
    description: ModelDescription,
    blended: set[nn.Module],
) -> None:
    """UserError unless the removed inputs are the removed outputs, and the pruned model computes what the whole one
    does with zeros for them. Where channels are averaged zeros count, so that it need not."""
    example, other = varied(module, description.inputs, 2)
    pruned, masked = (caller(each, description.inputs) for each in (module, removal.mask()))
    names = {name for name, layer in module.named_modules() if layer in blended}
    with torch.no_grad():
        found, wanted = named_outputs(pruned(example)), named_outputs(masked(example))
        first = removal.carried()
        masked(other)
    wrong = informed(first, removal.carried())
    worst = 0.0 if names.intersection(removal.narrowed) else difference(found, wanted)
    if wrong or not worst <= _SAME:
        place = f"before '{wrong[0]}'" if wrong else f"after one of {', '.join(removal.narrowed[:6])}"
        raise UserError(
            f"the pruned model is not the model with those channels at zero: torch-pruning mixed channels up {place}",
            hint=f"'ignore:' the layers whose channels the code there divides, joins or reorders; {_HINT}",
        )


def _runs(
    module: nn.Module,
    call: Callable[[dict[str, Tensor]], Any],
    example: dict[str, Tensor],
    shapes: dict[str, list[int]],
    narrowed: Iterable[str],
) -> None:
    """UserError unless the pruned model runs, and its outputs have the shapes they had."""
    inside = [""]  # the modules whose forward has not returned

    def leave(*_: Any) -> None:
        inside.pop()

    hooks = []
    for name, layer in module.named_modules():
        hooks.append(layer.register_forward_pre_hook(lambda *_, name=name: inside.append(name)))
        hooks.append(layer.register_forward_hook(leave))
    try:
        found = _shapes(call, example)
    except BROKEN as error:
        place = f"'{inside[-1]}'" if inside[-1] else "the model itself"
        near = nearest(inside[-1], narrowed)
        raise UserError(
            f"the pruned model does not run, in {place}: {error}",
            hint=f"the code there fixes a width: try \"ignore: ['{near}']\", the layer before it; or prune.magnitude"
            if near
            else "the code there fixes a width: 'ignore:' the layers before and after it, or use prune.magnitude",
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    if found != shapes:
        raise UserError(f"pruning would change the outputs from {shapes} to {found}", hint=_HINT)


def _gradients(
    module: nn.Module,
    call: Callable[[dict[str, Tensor]], Any],
    samples: Samples,
    loss: Loss,
    fixed: Collection[nn.Module],
) -> None:
    """Gradients of the task's loss, for the first-order Taylor criterion (Molchanov et al. 2019).

    UserError if the loss does not depend on a layer that is to be ranked.
    """
    module.zero_grad(set_to_none=True)
    with torch.enable_grad():
        loss(call(samples.inputs), torch.arange(len(samples))).backward()
    layers = prunable_layers(module).items()
    unused = [name for name, layer in layers if layer not in fixed and layer.weight.grad is None]
    if unused:
        raise UserError(
            f"criterion taylor cannot rank {', '.join(unused)}: the loss does not depend on it",
            hint="give a 'loss:' of all outputs, name these layers in 'ignore:', or use 'criterion: l2'",
        )
    for parameter in module.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


@torch.no_grad()
def _shapes(call: Callable[[dict[str, Tensor]], Any], example: dict[str, Tensor]) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in named_outputs(call(example)).items()}


def _cost(module: nn.Module, call: Callable[[dict[str, Tensor]], Any], example: dict[str, Tensor]) -> tuple[int, int]:
    """MACs of the convolutions and linear layers on the example, and parameters."""
    macs = 0

    def count(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        each = inputs[0] if getattr(layer, "transposed", False) else output  # the axis that weight[0] belongs to
        macs += each.numel() * layer.weight[0].numel()

    hooks = [layer.register_forward_hook(count) for layer in prunable_layers(module).values()]
    try:
        with torch.no_grad():
            call(example)
    finally:
        for hook in hooks:
            hook.remove()
    return macs, sum(parameter.numel() for parameter in module.parameters())


def _save(
    ctx: Context,
    module: nn.Module,
    description: ModelDescription,
    call: Callable[[dict[str, Tensor]], Any],
    example: dict[str, Tensor],
) -> None:
    """Write the model, and prove that it loads back: the same outputs, bit for bit."""
    description = description.edited([{"op": "resize"}])
    fresh = make_module(ctx, description)
    replay(fresh, description.edits)
    resize(fresh, weights_of(module), shapes=True)
    save_model(ctx, module, description, attribute_edits(fresh, module))
    again = caller(load_model(ctx, ctx.out), description.inputs)
    with torch.no_grad():
        same = identical(named_outputs(call(example)), named_outputs(again(example)))
    if not same:
        raise UserError("the pruned model cannot be described by its tensors' shapes and plain attributes", hint=_HINT)
