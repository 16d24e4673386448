"""Faults to plant in a technique's inner steps: what a slip in its code, or in a library below it, would do."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from torch import Tensor, nn

_EIGHT_BITS = (TensorProto.UINT8, TensorProto.INT8)
Plant = Callable[[pytest.MonkeyPatch], None]
OnnxFault = Callable[[ModelProto], None]
TorchFault = Callable[[nn.Module], None]


def around(place: str, change: Callable[..., Any]) -> Plant:
    """Replace ``module:name`` by a function that is called with the original and its arguments."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        module, _, path = place.partition(":")
        owner: Any = importlib.import_module(module)
        *parents, name = path.split(".")
        for parent in parents:
            owner = getattr(owner, parent)
        original = getattr(owner, name)
        patch.setattr(owner, name, lambda *args, **kwargs: change(original, *args, **kwargs))

    return plant


# -- ONNX ------------------------------------------------------------------------------------------------------------


def written(fault: OnnxFault) -> Plant:
    """The file that a technique publishes has the fault; its intermediate ones do not."""

    def change(write: Callable[..., Path], proto: ModelProto, directory: Path, **kwargs: Any) -> Path:
        if directory.name.startswith("out"):
            fault(proto)
        return write(proto, directory, **kwargs)

    return around("cbuild_onnx.model.files:write", change)


def read_with(place: str, fault: OnnxFault, when: Callable[[Mapping[str, Any]], bool] = lambda _: True) -> Plant:
    """The inner step ``place`` takes the path of an ONNX file first, and reads one with the fault."""

    def change(read: Callable[..., Any], path: Path, *args: Any, **kwargs: Any) -> Any:
        if not when(kwargs):
            return read(path, *args, **kwargs)
        proto = onnx.load(path)
        fault(proto)
        wrong = path.parent.with_name(f"{path.parent.name}-wrong") / path.name
        wrong.parent.mkdir(exist_ok=True)
        onnx.save(proto, wrong)
        return read(wrong, *args, **kwargs)

    return around(place, change)


def _change(tensor: TensorProto, value: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensor.name))


def _last_weight(proto: ModelProto) -> tuple[TensorProto, NodeProto]:
    known = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in reversed(proto.graph.node):
        for name in node.input:
            if name in known and len(known[name].dims) > 1 and node.op_type not in ("Reshape", "Expand"):
                return known[name], node
    raise AssertionError("the file has no weight to spoil")


def wrong_scale(proto: ModelProto) -> None:
    """The last weight, or its scale, doubled."""
    known = {tensor.name: tensor for tensor in proto.graph.initializer}
    weight, node = _last_weight(proto)
    value = numpy_helper.to_array(weight)
    if value.dtype.kind in "iu":
        beside = {"DequantizeLinear": 1, "MatMulNBits": 2}.get(node.op_type)
        scale = node.input[beside] if beside else weight.name.replace("_quantized", "_scale")
        weight, value = known[scale], numpy_helper.to_array(known[scale])
    _change(weight, (value * np.asarray(2).astype(value.dtype)).astype(value.dtype))


def dropped_bias(proto: ModelProto) -> None:
    """The largest bias is zero, in float or in the integers that it was quantized to."""
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT32)
    found = [
        tensor
        for tensor in proto.graph.initializer
        if len(tensor.dims) == 1
        and tensor.dims[0] >= 8
        and tensor.data_type in kinds
        and "scale" not in tensor.name
        and "zero_point" not in tensor.name
    ]
    worst = max(found, key=lambda tensor: float(np.abs(numpy_helper.to_array(tensor).astype(np.float64)).sum()))
    _change(worst, np.zeros_like(numpy_helper.to_array(worst)))


def permuted_classes(proto: ModelProto) -> None:
    """The rows of the last weight one further: each score under the next class."""
    weight, _ = _last_weight(proto)
    value = numpy_helper.to_array(weight)
    _change(weight, np.roll(value, 1, axis=value.shape.index(10)))


def swapped_channels(proto: ModelProto) -> None:
    """The first half of the channels of the largest weight in place of the second."""
    weight = max(proto.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)) * (len(tensor.dims) > 1))
    value = numpy_helper.to_array(weight)
    _change(weight, np.roll(value, value.shape[0] // 2, axis=0))


def transposed(proto: ModelProto) -> None:
    """A square weight with its inputs as outputs."""
    square = [t for t in proto.graph.initializer if len(t.dims) > 1 and t.dims[0] == t.dims[1] > 1]
    weight = max(square, key=lambda tensor: int(np.prod(tensor.dims)))
    _change(weight, np.swapaxes(numpy_helper.to_array(weight), 0, 1))


def wrong_zero_point(proto: ModelProto) -> None:
    """The zero points of 8-bit activations and weights are a quarter of the range off."""
    linear = ("QuantizeLinear", "DequantizeLinear", "MatMulInteger")
    points = {name for node in proto.graph.node if node.op_type in linear for name in node.input[2:]}
    found = [t for t in proto.graph.initializer if t.name in points and t.data_type in _EIGHT_BITS]
    assert found
    for tensor in found:
        value = numpy_helper.to_array(tensor)
        _change(tensor, (value.astype(np.int16) ^ 64).astype(value.dtype))


def renamed_values(proto: ModelProto) -> None:
    """The last node reads its first input's neighbour: the output of the node before."""
    last, before = proto.graph.node[-1], proto.graph.node[-2]
    twice = onnx.helper.make_node("Add", [last.output[0] + "-was", last.output[0] + "-was"], [last.output[0]], "twice")
    last.output[0] += "-was"
    assert before.output
    proto.graph.node.append(twice)


# -- torch -----------------------------------------------------------------------------------------------------------


def scaled(module: nn.Module) -> None:
    _heads(module)[-1].weight.data.mul_(2)


def unbiased(module: nn.Module) -> None:
    for name, value in module.named_parameters():
        if name.endswith("bias"):
            value.data.zero_()


def rolled(module: nn.Module) -> None:
    weight = _heads(module)[-1].weight
    weight.data.copy_(weight.data.roll(1, 0))


def _heads(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def traced(place: str, fault: TorchFault) -> Plant:
    """``place`` loads the module to trace, then the one to compare with: the first has the fault."""
    seen: list[int] = []

    def change(load: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
        module = load(*args, **kwargs)
        if not seen:
            fault(module)
        seen.append(1)
        return module

    return around(place, change)


def returned(place: str, change: Callable[[Any], Any]) -> Plant:
    """What ``place`` returns is changed."""
    return around(place, lambda original, *args, **kwargs: change(original(*args, **kwargs)))


def inverted(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As many weights as asked for, and the wrong ones: those of the other end."""
    return {name: mask.flip(0).roll(1, -1) for name, mask in masks.items()}


def halved(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    kept = {name: mask.clone() for name, mask in masks.items()}
    for mask in kept.values():
        mask.view(-1)[: mask.numel() // 2] = False
    return kept


def no_step(optimizer: Any) -> Any:
    optimizer.step = lambda *args, **kwargs: None
    return optimizer


def one_batch(groups: Any) -> Any:
    return iter([next(groups)])


def uphill(loss: Any) -> Any:
    return lambda result, chosen: -loss(result, chosen)


@torch.no_grad()
def other_values(layer: Any) -> Any:
    """A layer, or a pair of layers, whose last weight is doubled."""
    list(layer.parameters())[-1 if not _bias(layer) else -2].mul_(2)
    return layer


@torch.no_grad()
def without_bias(layer: Any) -> Any:
    for name, value in layer.named_parameters():
        if name.endswith("bias"):
            value.zero_()
    return layer


@torch.no_grad()
def rows_rolled(layer: Any) -> Any:
    weight = [value for name, value in layer.named_parameters() if name.endswith("weight")][-1]
    weight.copy_(weight.roll(1, 0))
    return layer


def _bias(layer: nn.Module) -> bool:
    return list(dict(layer.named_parameters()))[-1].endswith("bias")
