"""Quantization-aware training: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018; torchao's PT2E flow with our own quantizer."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import torch
from cbuild_kit import axis_sizes, check_scheme, example_arrays
from cbuild_kit.coverage import coverage, merged
from cbuild_kit.fidelity import check_fidelity
from cbuild_kit.probes import Probe, Probed
from cbuild_onnx.model import files
from cbuild_onnx.model.checks import compare
from cbuild_onnx.model.joins import joined
from cbuild_onnx.model.runner import OnnxRunner
from cbuild_onnx.model.trained import float_bytes
from torch import Tensor, nn
from torch.fx import GraphModule
from torchao.quantization.pt2e import FakeQuantizeBase
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_qat_pt2e

from compressbuild.api import Context, UserError

from ..model.calling import by_keyword, caller, named_outputs, tensors
from ..model.description import ModelDescription
from ..model.module import load_plain, prepare
from ..model.objective import left_out
from ..model.probing import answers
from ..model.program import one_line, place
from ..model.runner import TorchRunner
from ..model.selection import check_patterns, matching
from ..train.distill import soft_loss, soft_targets
from ..train.optimise import Loss, Samples, optimise, read_samples, task_loss
from .export import check_axes, fixed_axis, free_names, refuse_bfloat16, trace
from .naming import name_layers, name_values
from .params.qat import SCHEMES, QuantizeQat
from .qdq import quantize_biases
from .quantizer import SchemeQuantizer, fold_batchnorm, remove_dropout
from .sizes import at_every_size, known_answers

__all__ = ["quantize"]

_CHECK_SAMPLES = 64
_CAUSES = (
    "too few steps for the ranges to settle ('epochs:', a smaller 'lr:'), values of different ranges in one tensor "
    "('exclude:' of the layers that make them), or layers that 8 bits do not suit"
)
_ROUNDED = (
    "most likely values halfway between two quantized ones, which ONNX Runtime rounds differently: 'exclude:' layers "
    "of wide ranges; raise 'tolerance:' only if the model's quality metric holds"
)


def quantize(ctx: Context, model: Path, params: QuantizeQat) -> dict[str, Any]:
    """Train quantized and write ``model.onnx``; returns the scheme, the layers quantized and facts of the training."""
    check_scheme(params.scheme, SCHEMES)
    prepare(ctx)
    module, description = load_plain(ctx, model)
    refuse_bfloat16(module)
    skipped = _check(module, params)
    samples = read_samples(ctx, params.data, description.inputs)
    loss = _loss(ctx, params, module, description, samples)
    said = {} if params.loss else left_out(ctx, module, description.inputs, samples, _outputs(params))
    example = tensors(example_arrays(description.inputs, axis_sizes(description.inputs, params.sizes)))
    graph = _capture(module, description, example)
    known = _known(module, description, params, samples)
    captured = answers(graph, description.inputs)  # without its guards
    at_every_size(
        known,
        lambda feeds: {n: value.numpy() for n, value in captured(feeds).items()},
        known.taken[0][1],
        what="the captured graph",
        hint="the model may draw random numbers or compute with values in Python, which torch.export fixes",
        atol=1e-4,
        rtol=1e-3,
    )
    remove_dropout(graph)
    folded = fold_batchnorm(graph)
    quantizer = SchemeQuantizer(params.scheme, skipped, narrow=params.reduce_range is True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on torch's own renamed interfaces
        prepared = _without_modes(prepare_qat_pt2e(graph, quantizer))
    if not quantizer.layers:
        raise UserError(
            "no layer could be quantized", hint="convolutions and linear layers can be; 'exclude:' may name them all"
        )
    _run_once(prepared, description, samples, params.batch_size)  # ranges get their shapes, as a checkpoint has them
    _unchanged(_float_answers(prepared, description, samples), known)
    facts = optimise(ctx, prepared, description, samples, params, loss)
    floats = _float_answers(prepared, description, samples)
    converted = _convert(prepared, description, samples, params.batch_size)
    nodes, difference = _export(ctx, converted, description, params, samples, example, known)
    return {
        **facts,
        **said,
        **merged(_coverage(ctx, module), _fidelity(ctx, floats, samples)),
        "scheme": params.scheme,
        "layers": len(quantizer.layers),
        "batchnorm_folded": folded,
        "quantize_nodes": nodes,
        "max_difference": difference,
    }


def _check(module: nn.Module, params: QuantizeQat) -> frozenset[str]:
    """Names of the layers to leave in float; UserError for a model that this does not fit."""
    recurrent = next((name for name, layer in module.named_modules() if isinstance(layer, nn.RNNBase)), None)
    if recurrent is not None:
        raise UserError(
            f"quantize.qat cannot quantize the recurrent layer '{recurrent}'",
            hint="share.cluster shrinks it; after export.onnx, quantize.dynamic with 'op-types: [LSTM, MatMul]'",
        )
    layers = [name for name, layer in module.named_modules() if any(True for _ in layer.parameters(recurse=False))]
    check_patterns("exclude", params.exclude, layers)
    return frozenset(name for name in layers if matching(name, params.exclude))


def _outputs(params: QuantizeQat) -> tuple[str, ...]:
    taught = params.match if params.teacher is not None and isinstance(params.match, dict) else ()
    return tuple(dict.fromkeys((*params.outputs, *taught)))


def _loss(
    ctx: Context, params: QuantizeQat, module: nn.Module, description: ModelDescription, samples: Samples
) -> Loss:
    hard = task_loss(ctx, params, samples)
    if params.teacher is None:
        return hard
    known = soft_targets(ctx, params.teacher, module, description.inputs, samples, params, params.match)
    return soft_loss(known, hard, alpha=params.alpha, temperature=params.temperature)


def _capture(module: nn.Module, description: ModelDescription, example: dict[str, Tensor]) -> GraphModule:
    """The module as a graph of ATen operators, with its own parameter names."""
    inputs = description.inputs
    free = {item.name: {i: axis for i, axis in enumerate(item.shape) if isinstance(axis, str)} for item in inputs}
    auto = torch.export.Dim.AUTO  # a model may have a largest length: torch finds it
    shapes = {name: dict.fromkeys(axes, auto) for name, axes in free.items()}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator for a whole encoder layer, without a gradient
    try:
        if by_keyword(module, example):
            program = torch.export.export(module, (), kwargs=example, dynamic_shapes=shapes)
        else:
            program = torch.export.export(module, tuple(example.values()), dynamic_shapes=tuple(shapes.values()))
        graph: GraphModule = program.module(check_guards=False)
    except Exception as error:  # torch.export raises what the user's forward does, and a dozen classes of its own
        raise UserError(
            f"torch.export cannot capture this model: {one_line(error)}{place(error)}",
            hint="data-dependent control flow cannot be exported; a size that is fixed needs its number in 'inputs:'",
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    for name, made in zip(example, program.graph_signature.user_inputs, strict=True):
        for i, axis in free[name].items():
            if isinstance(size := values[made].shape[i], int):
                raise fixed_axis(name, axis, size)
    return graph


def _known(module: nn.Module, description: ModelDescription, params: QuantizeQat, samples: Samples) -> Probed:
    """What the module gives at several sizes, and on samples."""
    known = known_answers(module, description.inputs, params.sizes)
    feeds = {name: tensor[:_CHECK_SAMPLES].numpy() for name, tensor in samples.inputs.items()}
    sizes = {
        axis: size
        for item in description.inputs
        for axis, size in zip(item.shape, feeds[item.name].shape, strict=True)
        if isinstance(axis, str)
    }
    known.taken.append((Probe("the data", sizes, feeds), TorchRunner(module, description.inputs)(feeds)))
    return known


def _redrawn(known: Probed, converted: GraphModule, description: ModelDescription, samples: Samples) -> Probed:
    """What the quantized graph gives at the same sizes, on values of the data: others are outside of its ranges."""
    rng, run = np.random.default_rng(0), TorchRunner(converted, description.inputs)
    pools = {name: tensor.flatten().numpy() for name, tensor in samples.inputs.items()}
    found = Probed(start=known.start)
    for item, _ in known.taken:
        feeds = {name: rng.choice(pools[name], value.shape) for name, value in item.feeds.items()}
        found.taken.append((replace(item, feeds=feeds), run(feeds)))
    return found


def _without_modes(graph: GraphModule) -> GraphModule:
    """An exported graph refuses ``train()`` and ``eval()``; this one has neither dropout nor batch statistics left."""

    def train(self: GraphModule, mode: bool = True) -> GraphModule:
        return self

    for part in graph.modules():
        part.training = False
    graph.train = MethodType(train, graph)
    graph.eval = MethodType(train, graph)
    return graph


def _convert(prepared: GraphModule, description: ModelDescription, samples: Samples, batch_size: int) -> GraphModule:
    """Quantize for good. One batch more, for the scales of the weights as the last step left them."""
    _run_once(prepared, description, samples, batch_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _without_modes(convert_pt2e(prepared))


def _float_answers(prepared: GraphModule, description: ModelDescription, samples: Samples) -> dict[str, np.ndarray]:
    """What the trained weights answer in float: name in the torch model → outputs on the samples of the check."""
    quantizers = [part for part in prepared.modules() if isinstance(part, FakeQuantizeBase)]
    states = [(part.fake_quant_enabled.clone(), part.observer_enabled.clone()) for part in quantizers]
    for part in quantizers:
        part.disable_fake_quant()
        part.disable_observer()
    found = TorchRunner(prepared, description.inputs)(_check_feeds(samples))
    for part, (fake, observed) in zip(quantizers, states, strict=True):
        part.fake_quant_enabled.copy_(fake)
        part.observer_enabled.copy_(observed)
    return dict(found)


def _unchanged(floats: dict[str, np.ndarray], known: Probed) -> None:
    """UserError unless the graph that is to be trained computes in float what the module does on the data."""
    wanted = {name: np.asarray(value) for name, value in known.taken[-1][1].items()}
    found = dict(zip(wanted, floats.values(), strict=True))
    what = "the graph with batch normalisation folded"
    hint = "add fold.batchnorm before, and name a layer that it leaves in 'exclude:'"
    compare(found, wanted, atol=1e-4, rtol=1e-3, per_output=True, what=what, hint=hint)


def _check_feeds(samples: Samples) -> dict[str, np.ndarray]:
    return {name: tensor[:_CHECK_SAMPLES].numpy() for name, tensor in samples.inputs.items()}


def _fidelity(ctx: Context, floats: dict[str, np.ndarray], samples: Samples) -> dict[str, Any]:
    """The file, run as it is written, against the same weights in float. Outputs are in the same order."""
    path = ctx.out / files.NAME
    runner = OnnxRunner(path, threads=ctx.threads, optimise=False)
    feeds = _check_feeds(samples)
    found = runner(feeds)
    wanted = dict(zip(found, floats.values(), strict=True))
    return check_fidelity(
        ctx,
        lambda: lambda _: wanted,
        lambda: lambda _: found,
        [feeds],
        what="quantize.qat",
        causes=_CAUSES,
        joined=joined(files.read(path, weights=False)),
    )


def _coverage(ctx: Context, module: nn.Module) -> dict[str, Any]:
    before = {name: value.numel() * value.element_size() for name, value in module.named_parameters()}
    return coverage(ctx, before, float_bytes(files.read(ctx.out / files.NAME, weights=False)))


@torch.no_grad()
def _run_once(prepared: GraphModule, description: ModelDescription, samples: Samples, batch_size: int) -> None:
    caller(prepared, description.inputs)({name: tensor[:batch_size] for name, tensor in samples.inputs.items()})


def _export(
    ctx: Context,
    converted: GraphModule,
    description: ModelDescription,
    params: QuantizeQat,
    samples: Samples,
    example: dict[str, Tensor],
    known: Probed,
) -> tuple[int, float]:
    """Write the ONNX model and compare it with torch's; returns its QuantizeLinear nodes and the difference."""
    inputs = description.inputs
    with torch.no_grad():
        found = list(named_outputs(caller(converted, inputs)(example)))
    names = free_names(found, inputs)
    program = trace(converted, inputs, example, len(names), params.opset)
    raw = ctx.scratch / "traced" / files.NAME
    raw.parent.mkdir()
    program.save(str(raw))
    proto = files.read(raw)
    name_layers(proto, converted)
    name_values(proto, [item.name for item in inputs], names)
    check_axes(proto, inputs)
    if params.scheme == "u8-affine":
        quantize_biases(proto)
    files.write(proto, ctx.out)
    feeds = _check_feeds(samples)
    runner = OnnxRunner(ctx.out / files.NAME, threads=ctx.threads, optimise=False)  # fused kernels may saturate
    allowed: dict[str, Any] = {"atol": 0.0, "rtol": params.tolerance, "per_output": True}
    wanted = dict(zip(names, TorchRunner(converted, inputs)(feeds).values(), strict=True))
    difference = compare(runner(feeds), wanted, what="the exported model", hint=_ROUNDED, **allowed)
    redrawn = _redrawn(known, converted, description, samples)
    difference = max(difference, at_every_size(redrawn, runner, names, hint=_ROUNDED, **allowed))
    return sum(node.op_type == "QuantizeLinear" for node in files.nodes(proto)), difference
