"""A scale of mixed signs before a FakeQuantize, kept apart from it.

OpenVINO 2026.4 folds a multiplication by constants into the FakeQuantize behind it, also through an addition of one
number, a reshape or a clamp. Where the constants, one for each channel, are of both signs, the result is wrong (-3 dB).
A negative gamma of a batch normalisation that no convolution takes in is such a scale.

An addition of one number for each channel is not folded, so one of next to nothing keeps the two apart. It changes no
number above 1e-30, in float16 none above 1e-4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .runtime import openvino

__all__ = ["keep_signs"]

_NOTHING = {"f32": np.finfo(np.float32).tiny, "f16": np.finfo(np.float16).smallest_subnormal}  # zeros are dropped
_PRODUCTS = ("Multiply", "Divide", "BatchNormInference")


def keep_signs(model: Any) -> int:
    """Add next to nothing to each product with such a scale, in place, if the model has any FakeQuantize; how many."""
    nodes = model.get_ordered_ops()
    if not any(node.get_type_name() == "FakeQuantize" for node in nodes):
        return 0
    count = 0
    for node in nodes:
        scale = _scale(node)
        if scale is None or not (scale > 0).any() or not (scale < 0).any():
            continue
        readers = [each for each in node.output(0).get_target_inputs() if not _adds_per_channel(each.get_node())]
        if not readers:
            continue
        nothing = openvino.op.Constant(
            np.full(scale.shape, _NOTHING[_type(node)], node.get_output_element_type(0).to_dtype())
        )
        added = openvino.opset13.add(node.output(0), nothing)
        added.set_friendly_name(f"{node.get_friendly_name()}/signs")
        for reader in readers:
            reader.replace_source_output(added.output(0))
        count += 1
    if count:
        model.validate_nodes_and_infer_types()
    return count


def _scale(node: Any) -> np.ndarray | None:
    """The constants, one for each channel, by which a node multiplies what is computed, in the form that spreads over
    its output."""
    kind, rank = node.get_type_name(), node.get_output_partial_shape(0).rank if node.get_output_size() else None
    if kind not in _PRODUCTS or _type(node) not in _NOTHING or not rank.is_static or rank.get_length() < 2:
        return None
    values = [_constant(node.input_value(at).get_node()) for at in range(node.get_input_size())]
    if kind == "BatchNormInference":  # data, gamma, beta, mean, variance
        return None if values[1] is None else values[1].reshape(-1, *[1] * (rank.get_length() - 2))
    found = [value for value in values if value is not None]
    if len(found) != 1 or (kind == "Divide" and values[1] is None):
        return None
    channels = found[0].reshape(*[1] * (rank.get_length() - found[0].ndim), *found[0].shape)
    return channels if channels.shape[1] > 1 and channels.size == channels.shape[1] else None


def _type(node: Any) -> str:
    return str(node.get_output_element_type(0).get_type_name())


def _constant(node: Any) -> np.ndarray | None:
    """The value of a constant, perhaps stored in fewer bits."""
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return np.asarray(node.data) if node.get_type_name() == "Constant" else None


def _adds_per_channel(node: Any) -> bool:
    if node.get_type_name() not in ("Add", "Subtract"):
        return False
    values = (_constant(node.input_value(at).get_node()) for at in range(2))
    return any(value is not None and value.size > 1 and bool(value.any()) for value in values)
