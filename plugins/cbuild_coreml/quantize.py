"""8-bit weights and activations: torchao's PT2E flow, whose graph coremltools turns into ``quantize``, ``dequantize``
and ``constexpr`` operators.

coremltools has a calibration of its own, which runs the model on Core ML, so on a Mac alone. Here torch observes the
ranges on any machine, and what the quantized graph computes is compared with its source before it is converted.
https://apple.github.io/coremltools/docs-guides/source/opt-quantization-algos.html
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from cbuild_kit import arrays, fit, fixed_batch
from cbuild_kit.fidelity import Answer, check_fidelity
from cbuild_kit.interface import Interface
from cbuild_torch.model.calling import tensors
from cbuild_torch.model.program import one_line, retraced
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import MinMaxObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, QuantizationSpec, Quantizer

from compressbuild.api import Context, UserError

from .settings import CoreMlSettings

__all__ = ["answering", "quantize"]

_aten = torch.ops.aten
_LAYERS = (
    *(_aten.conv1d.default, _aten.conv1d.padding, _aten.conv2d.default, _aten.conv2d.padding),
    *(_aten.conv3d.default, _aten.conv3d.padding, _aten.linear.default),
)
_LEAST_SCALE = 2.0**-14  # the least normal float16, as scales are stored in it; below, they lose their digits
_COMPARED = 64  # samples
_BATCH = 32  # samples at a time, of a model that takes any number
_Arrays = Mapping[str, np.ndarray]
_CAUSES = (
    "ranges that the samples of 'data:' do not reach, one outlier that sets the scale of a tensor, or layers that 8 "
    "bits do not suit: 'activations: float' keeps activations in floats"
)


class _Layers(Quantizer):  # type: ignore[misc]
    """What is multiplied by at least ``threshold`` weights, and the weights. Other operators compute in floats."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold

    def annotate(self, model: GraphModule) -> GraphModule:
        for node in model.graph.nodes:
            if node.target not in _LAYERS or not isinstance(node.args[0], Node) or not self._is_large(node.args[1]):
                continue
            inputs = {node.args[0]: _symmetric(MinMaxObserver), node.args[1]: _symmetric(PerChannelMinMaxObserver, 0)}
            node.meta["quantization_annotation"] = QuantizationAnnotation(inputs, None, _annotated=True)
        return model

    def _is_large(self, weight: Any) -> bool:
        """Whether it is a parameter of so many elements."""
        return isinstance(weight, Node) and weight.op == "get_attr" and weight.meta["val"].numel() > self._threshold

    def validate(self, model: GraphModule) -> None:
        """Every annotation comes from here, so there is nothing to refuse."""


def _symmetric(observer: Any, axis: int | None = None) -> QuantizationSpec:
    """int8 without a zero point, ±127, so that a product needs no correction."""
    scheme = torch.per_tensor_symmetric if axis is None else torch.per_channel_symmetric
    return QuantizationSpec(torch.int8, observer.with_args(eps=_LEAST_SCALE), -127, 127, scheme, ch_axis=axis)


@torch.no_grad()
def quantize(
    ctx: Context,
    program: ExportedProgram,
    interface: Interface,
    settings: CoreMlSettings,
    source: Callable[[], Answer],
) -> tuple[ExportedProgram, dict[str, Any]]:
    """The quantized program. ``source``: runs the module that was traced.

    Facts: ``layers``: convolutions and linear layers that are int8, ``float_layers``: those that are not, ``samples``:
    how many calibrated, ``quantization``: what it costs each output (:func:`cbuild_kit.fidelity.check_fidelity`).
    """
    batches = _batches(ctx, interface, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on torch's own renamed interfaces
        try:
            prepared = prepare_pt2e(program.module(check_guards=False), _Layers(settings.weight_threshold))
            for feeds in batches:
                prepared(*tensors(interface.checked(feeds, "the data")).values())
            converted = convert_pt2e(prepared)
            quantized = retraced(converted, interface.inputs, interface.sizes)
        except UserError:
            raise
        except Exception as error:  # its passes trip over graphs that they were not written for, in many ways
            raise UserError(f"this model cannot be quantized for Core ML: {one_line(error)}") from error
    layers = [node for node in converted.graph.nodes if node.target in _LAYERS]
    done = sum("dequantize" in str(getattr(node.args[1], "target", "")) for node in layers)
    if not done:
        raise UserError(
            "no layer of this model could be quantized",
            hint="convolutions and linear layers can, of more weights than "
            f"'weight-threshold: {settings.weight_threshold}'",
        )
    found = check_fidelity(
        ctx,
        source,
        lambda: answering(quantized, interface),
        _first(batches, _COMPARED),
        what="quantization for Core ML",
        causes=_CAUSES,
    )
    concern = {"concern": found.pop("concern")} if "concern" in found else {}
    counts = {"layers": done, "float_layers": len(layers) - done, "samples": sum(map(_count, batches))}
    return quantized, {**counts, **concern, "quantization": found}


def _batches(ctx: Context, interface: Interface, settings: CoreMlSettings) -> list[_Arrays]:
    """Samples of the dataset, in batches that the program takes."""
    assert settings.data is not None
    columns, labels = arrays(
        ctx.dataset(settings.data), [item.name for item in interface.inputs], limit=settings.samples
    )
    columns = fit(columns, interface.inputs)
    fixed = fixed_batch(interface.inputs)
    size = fixed or min(_BATCH, interface.sizes[str(interface.inputs[0].shape[0])][1])
    if len(labels) < (fixed or 1):
        raise UserError(f"the model takes batches of {size}, but '{settings.data}' has only {len(labels)} samples")
    whole = len(labels) - (len(labels) % size if fixed else 0)
    return [{name: column[at : at + size] for name, column in columns.items()} for at in range(0, whole, size)]


def _count(feeds: _Arrays) -> int:
    return len(next(iter(feeds.values())))


def _first(batches: Sequence[_Arrays], samples: int) -> list[_Arrays]:
    """As many of the batches as have so many samples together; one at least."""
    kept: list[_Arrays] = []
    for feeds in batches:
        if kept and sum(map(_count, kept)) + _count(feeds) > samples:
            break
        kept.append(feeds)
    return kept


def answering(program: ExportedProgram, interface: Interface) -> Answer:
    """What runs an exported program: input name → array to output name → array."""
    module = program.module(check_guards=False)

    @torch.no_grad()
    def run(feeds: _Arrays) -> dict[str, np.ndarray]:
        values = module(*tensors(interface.checked(feeds, "the data")).values())
        return dict(zip(interface.outputs, (value.numpy() for value in values), strict=True))

    return run
