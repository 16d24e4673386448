"""Where fake quantization goes in an exported graph, so that ONNX Runtime fuses every operator and TensorRT takes it.

The quantizers that come with torchao leave most convolutions unfused. Here a convolution has quantized inputs and
outputs (after its activation), a linear layer quantized inputs; in models without attention additions, pooling and
concatenation are quantized on both sides too, and operators that only move values keep the scale of what they move.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import (
    FusedMovingAvgObsFakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

__all__ = ["SchemeQuantizer", "fold_batchnorm", "parameter_of", "remove_dropout"]

_aten = torch.ops.aten
_CONVOLUTIONS = (_aten.conv1d.default, _aten.conv2d.default, _aten.conv3d.default)
_ACTIVATIONS = (_aten.relu.default, _aten.relu_.default, _aten.hardtanh.default, _aten.hardtanh_.default)
_ADDITIONS = (_aten.add.Tensor, _aten.add_.Tensor)
_AVERAGES = (_aten.adaptive_avg_pool2d.default, _aten.avg_pool2d.default, _aten.mean.dim)
_MOVES = (
    *(_aten.max_pool2d.default, _aten.flatten.using_ints, _aten.view.default, _aten.reshape.default),
    *(_aten.permute.default, _aten.transpose.int, _aten.squeeze.dim, _aten.squeeze.dims, _aten.unsqueeze.default),
    _aten.upsample_nearest2d.vec,
)
_ATTENTION = (_aten.scaled_dot_product_attention.default, _aten.softmax.int, _aten.layer_norm.default)
_KEY = "quantization_annotation"
_AVERAGING = 0.05  # share of the newest batch in the running range of an activation


class SchemeQuantizer(Quantizer):  # type: ignore[misc]
    """Annotates the graph for ``u8-affine`` or ``s8-symmetric``. ``skipped``: layer names that stay in float.
    ``narrow``: weights of 7 bits."""

    def __init__(self, scheme: str, skipped: frozenset[str] = frozenset(), *, narrow: bool = False) -> None:
        self._activation = _activation(scheme)
        self._weight = _weight(narrow)
        self._skipped = skipped
        self.layers: list[str] = []  # names of the layers that were annotated

    def annotate(self, model: GraphModule) -> GraphModule:
        attention = any(node.target in _ATTENTION for node in model.graph.nodes)
        for node in list(model.graph.nodes):
            if node.target in _CONVOLUTIONS or node.target == _aten.linear.default:
                self._layer(node)
            elif not attention:
                self._between(node)
        return model

    def validate(self, model: GraphModule) -> None:
        """Every annotation comes from here, so there is nothing to refuse."""

    def _layer(self, node: Node) -> None:
        """A convolution, quantized on both sides, or a linear layer, whose output is left to what reads it."""
        source, weight = node.args[:2]
        name = parameter_of(weight)
        if name is None or not isinstance(source, Node) or _owner(name) in self._skipped:
            return
        self.layers.append(_owner(name))
        both = node.target in _CONVOLUTIONS
        self._set(node, {source: self._activation, weight: self._weight}, self._activation if both else None)

    def _between(self, node: Node) -> None:
        if node.target in _ADDITIONS and all(_is_float(value) for value in node.args[:2]):
            inputs = {value: self._activation for value in node.args[:2] if isinstance(value, Node)}
            self._set(node, inputs, self._activation)
        elif node.target in _AVERAGES and _is_quantized(node.args[0]):
            self._set(node, {node.args[0]: self._activation}, self._activation)
        elif node.target in _MOVES and _is_quantized(node.args[0]):
            shared = SharedQuantizationSpec((node.args[0], node))
            node.meta[_KEY] = QuantizationAnnotation({node.args[0]: self._activation}, shared, _annotated=True)
        elif node.target == _aten.cat.default and all(_is_quantized(value) for value in node.args[0]):
            self._set(node, dict.fromkeys(node.args[0], self._activation), self._activation)

    def _set(self, node: Node, inputs: dict[Any, Any], output: QuantizationSpec | None) -> None:
        """Annotate; the output's scale is taken after the activation function that alone reads it."""
        follower = next(iter(node.users)) if len(node.users) == 1 else None
        fused = output is not None and follower is not None and follower.target in _ACTIVATIONS
        node.meta[_KEY] = QuantizationAnnotation(inputs, None if fused else output, _annotated=True)
        if fused:
            follower.meta[_KEY] = QuantizationAnnotation({}, output, _annotated=True)


def _activation(scheme: str) -> QuantizationSpec:
    affine = scheme == "u8-affine"
    low, high = (0, 255) if affine else (-127, 127)
    qscheme = torch.per_tensor_affine if affine else torch.per_tensor_symmetric
    fake = FusedMovingAvgObsFakeQuantize.with_args(
        observer=MovingAverageMinMaxObserver, averaging_constant=_AVERAGING, eps=2**-12
    )
    return QuantizationSpec(torch.uint8 if affine else torch.int8, fake, low, high, qscheme)


def _weight(narrow: bool) -> QuantizationSpec:
    """Per output channel, symmetric; the range is that of the weights as they are now."""
    fake = FusedMovingAvgObsFakeQuantize.with_args(
        observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0, eps=2**-20
    )
    limit = 63 if narrow else 127  # 2 · 63 · 255 fits in 16 bits
    return QuantizationSpec(torch.int8, fake, -limit, limit, torch.per_channel_symmetric, ch_axis=0)


def parameter_of(value: Any) -> str | None:
    """Name of the parameter that a node reads directly."""
    return str(value.target) if isinstance(value, Node) and value.op == "get_attr" else None


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _is_float(value: Any) -> bool:
    return (
        isinstance(value, Node)
        and isinstance(value.meta.get("val"), torch.Tensor)
        and value.meta["val"].is_floating_point()
    )


def _is_quantized(value: Any) -> bool:
    annotation = value.meta.get(_KEY) if isinstance(value, Node) else None
    return annotation is not None and annotation.output_qspec is not None


def remove_dropout(model: GraphModule) -> None:
    """Dropout of an evaluated model passes values on, but would keep quantization on its two sides apart."""
    for node in list(model.graph.nodes):
        if node.target in (_aten.dropout.default, _aten.dropout_.default) and node.args[2] is False:
            node.replace_all_uses_with(node.args[0])
            model.graph.erase_node(node)
    model.recompile()


@torch.no_grad()
def fold_batchnorm(model: GraphModule) -> int:
    """Fold batch normalisation, as it is in evaluation, into the layer before it; returns how many were.

    One that follows no layer of its own becomes a multiplication and an addition.
    """
    folded = 0
    for node in list(model.graph.nodes):
        if node.target != _aten.batch_norm.default or node.args[5] is not False:
            continue
        before = node.args[0]
        if before.target in (*_CONVOLUTIONS, _aten.linear.default) and len(before.users) == 1 and _has_own(before):
            _fold(model, before, node)
            folded += 1
        else:
            _spell_out(model, node)
        model.graph.erase_node(node)
    model.graph.eliminate_dead_code()
    model.recompile()
    return folded


def _has_own(layer: Node) -> bool:
    """Whether no other node reads the layer's parameters."""
    parameters = [value for value in layer.args[1:3] if value is not None]
    return all(parameter_of(value) is not None and len(value.users) == 1 for value in parameters)


def _affine(model: GraphModule, norm: Node) -> tuple[Tensor, Tensor]:
    """Scale and shift of each channel that a normalisation amounts to."""
    weight, bias, mean, variance = (None if value is None else _tensor(model, value) for value in norm.args[1:5])
    scale = torch.rsqrt(variance + norm.args[7]) * (1.0 if weight is None else weight)
    return scale, -mean * scale + (0.0 if bias is None else bias)


def _fold(model: GraphModule, layer: Node, norm: Node) -> None:
    scale, shift = _affine(model, norm)
    weight = _tensor(model, layer.args[1])
    weight.mul_(scale.view(-1, *([1] * (weight.dim() - 1))))
    bias = layer.args[2] if len(layer.args) > 2 else None
    if bias is not None:
        _tensor(model, bias).mul_(scale).add_(shift)
    else:
        made = _parameter(model, _owner(str(layer.args[1].target)), "folded_bias", shift, layer)
        layer.args = (*layer.args[:2], made, *layer.args[3:])
    norm.replace_all_uses_with(layer)


def _spell_out(model: GraphModule, norm: Node) -> None:
    owner = _owner(str(norm.args[3].target))
    rank = norm.args[0].meta["val"].dim()
    scale, shift = (value.view(-1, *([1] * (rank - 2))) for value in _affine(model, norm))
    with model.graph.inserting_before(norm):
        product = model.graph.call_function(
            _aten.mul.Tensor, (norm.args[0], _parameter(model, owner, "folded_scale", scale, norm))
        )
        result = model.graph.call_function(
            _aten.add.Tensor, (product, _parameter(model, owner, "folded_shift", shift, norm))
        )
    product.meta["val"] = result.meta["val"] = norm.meta["val"]
    norm.replace_all_uses_with(result)


def _parameter(model: GraphModule, owner: str, name: str, value: Tensor, before: Node) -> Node:
    """A new parameter of the module ``owner``, and the node that reads it."""
    model.get_submodule(owner).register_parameter(name, torch.nn.Parameter(value.clone()))
    with model.graph.inserting_before(before):
        return model.graph.get_attr(f"{owner}.{name}".lstrip("."))


def _tensor(model: GraphModule, node: Node) -> Tensor:
    owner, _, name = str(node.target).rpartition(".")
    found: Tensor = getattr(model.get_submodule(owner), name)
    return found
