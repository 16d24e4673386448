"""Post-training quantization to int8 for XNNPACK: torchao's PT2E flow with ExecuTorch's own quantizer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from cbuild_kit import fixed_batch, sample_feeds
from cbuild_kit.coverage import coverage, merged
from cbuild_kit.fidelity import Answer, check_fidelity
from cbuild_kit.interface import Interface
from cbuild_kit.probes import probe
from cbuild_torch.model.calling import tensors
from cbuild_torch.model.program import example, one_line, retraced
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from compressbuild.api import Context, UserError

from .settings import ExecuTorchSettings

__all__ = ["quantize"]

_aten = torch.ops.aten
_LAYERS = (_aten.conv1d.default, _aten.conv2d.default, _aten.linear.default, _aten.conv_transpose2d.input)
_CHECK_SAMPLES = 64
_PROBES = 6  # made-up inputs, of several sizes
_Arrays = Mapping[str, np.ndarray]
_BATCH = 32  # samples at a time, of a model that takes any number


@torch.no_grad()
def quantize(
    ctx: Context,
    program: ExportedProgram,
    interface: Interface,
    settings: ExecuTorchSettings,
    source: Callable[[], Answer],
    *,
    axes: Mapping[str, Sequence[int]],
    rows: Mapping[str, int],
) -> tuple[ExportedProgram, dict[str, Any]]:
    """The quantized program, weights per output channel. ``source``: runs the module that was traced. ``axes`` and
    ``rows``: sizes and tables for made-up inputs, as :func:`cbuild_kit.probes.probe` takes them.

    Facts: ``layers``: convolutions and linear layers that are int8, ``float_layers``: those that are not,
    ``samples``: how many were used, ``quantized_share``: of the weights, ``quantization``: what it costs each output.
    """
    dynamic = settings.precision == "int8-dynamic"
    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=dynamic)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on torch's own renamed interfaces
        try:
            prepared = prepare_pt2e(program.module(check_guards=False), XNNPACKQuantizer().set_global(config))
            if dynamic:
                seen = 0
                prepared(*example(interface.inputs, interface.sizes).values())  # for the ranges of the weights
            else:
                seen = _calibrate(ctx, prepared, interface, settings)
            converted = convert_pt2e(prepared)
            quantized = retraced(converted, interface.inputs, interface.sizes)
        except UserError:
            raise
        except Exception as error:  # the quantizer trips over graphs that it was not written for, in many ways
            raise UserError(f"ExecuTorch cannot quantize this model: {one_line(error)}") from error
    layers = [node for node in converted.graph.nodes if node.target in _LAYERS]
    done = sum(_is_quantized(node) for node in layers)
    if not done:
        raise UserError("no layer of this model could be quantized", hint="convolutions and linear layers can be")
    facts = {"layers": done, "float_layers": len(layers) - done}
    facts |= {} if dynamic else {"samples": seen}
    reached = coverage(ctx, _float_bytes(program), _float_bytes(quantized))
    given = _samples(ctx, interface, settings) if settings.data else _made_up(ctx, interface, source(), axes, rows)
    if given is None:
        return quantized, {
            **facts,
            **reached,
            "quantization": "not measured: the model takes no made-up inputs; name 'data:'",
        }
    found = _fidelity(ctx, program, quantized, interface, source, given)
    concern = {"concern": found.pop("concern")} if "concern" in found else {}
    return quantized, {**facts, **merged(reached, concern), "quantization": found}


def _float_bytes(program: ExportedProgram) -> dict[str, int]:
    """Name → bytes of each float weight that the graph reads. A quantized program keeps its source's in ``state_dict``.
    Scales and zero points, of one dimension, are none."""
    read = {node.name for node in program.graph.find_nodes(op="placeholder") if node.users}
    held = {**program.state_dict, **program.constants}
    named = {
        spec.target: held.get(spec.target) for spec in program.graph_signature.input_specs if spec.arg.name in read
    }
    return {
        str(name): value.numel() * value.element_size()
        for name, value in named.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dim() > 1
    }


def _samples(ctx: Context, interface: Interface, settings: ExecuTorchSettings) -> list[_Arrays]:
    """Samples of the dataset, in batches that the program takes."""
    columns = sample_feeds(ctx.dataset(settings.data), interface.inputs, min(settings.samples, _CHECK_SAMPLES))
    count = len(next(iter(columns.values())))
    size = _chunk(interface)
    whole = count - count % size if fixed_batch(interface.inputs) else count
    return [{n: column[at : at + size] for n, column in columns.items()} for at in range(0, whole, size)]


def _made_up(
    ctx: Context, interface: Interface, answer: Answer, axes: Mapping[str, Sequence[int]], rows: Mapping[str, int]
) -> list[_Arrays] | None:
    """Inputs of several sizes that the float module takes; None if it takes none."""
    probed = probe(interface.inputs, answer, axes=axes, rows=rows, seed=ctx.seed)
    if not probed.taken:
        ctx.log.warning("the float module takes no made-up inputs: %s", next(iter(probed.refused.values()), ""))
        return None
    return [item.feeds for item, _ in probed.taken[:_PROBES]]


def _fidelity(
    ctx: Context,
    program: ExportedProgram,
    quantized: ExportedProgram,
    interface: Interface,
    source: Callable[[], Answer],
    given: Sequence[_Arrays],
) -> dict[str, Any]:
    """The quantized program against the float module."""
    return check_fidelity(
        ctx,
        source,
        lambda: _answer(quantized, interface),
        given,
        what="ExecuTorch's quantizer",
        causes="values of different ranges in one tensor, such as a concatenation of boxes and scores (give them "
        "as two outputs), or ranges that the samples of 'data:' do not reach",
        joined=_joined(program, interface),
    )


def _answer(
    program: ExportedProgram, interface: Interface
) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    module = program.module(check_guards=False)

    def run(feeds: _Arrays) -> dict[str, np.ndarray]:
        values = module(*tensors(interface.checked(feeds, "the data")).values())
        listed = (
            values.values() if isinstance(values, dict) else values if isinstance(values, list | tuple) else [values]
        )
        return dict(zip(interface.outputs, (value.numpy() for value in listed), strict=True))

    return run


def _joined(program: ExportedProgram, interface: Interface) -> dict[str, int]:
    """Output → the axis along which a concatenation makes it."""
    returned = next(node for node in program.graph.nodes if node.op == "output").args[0]
    cats = {name: node for name, node in zip(interface.outputs, returned, strict=False) if isinstance(node, Node)}
    return {
        name: int(node.args[1]) if len(node.args) > 1 else 0
        for name, node in cats.items()
        if node.target == _aten.cat.default
    }


def _calibrate(ctx: Context, prepared: GraphModule, interface: Interface, settings: ExecuTorchSettings) -> int:
    """Run samples through the observers; returns how many."""
    feeds = sample_feeds(ctx.dataset(settings.data), interface.inputs, settings.samples)
    count = len(next(iter(feeds.values())))
    size = _chunk(interface)
    for start in range(0, count, size):
        chunk = interface.checked({name: array[start : start + size] for name, array in feeds.items()}, "the data")
        prepared(*tensors(chunk).values())
    return count


def _chunk(interface: Interface) -> int:
    """Samples run at once."""
    fixed = fixed_batch(interface.inputs)
    return fixed or min(_BATCH, interface.sizes[str(interface.inputs[0].shape[0])][1])


def _is_quantized(layer: Node) -> bool:
    weight = layer.args[1]
    return isinstance(weight, Node) and "dequantize" in str(weight.target)
