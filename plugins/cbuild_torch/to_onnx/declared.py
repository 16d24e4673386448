"""The shapes that an exported file declares, held to what it computes: torch's exporter may note the sizes of its
example where it could not follow a named axis, as through recurrent layers. Runtimes plan their memory by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.probes import Probe, Probed
from cbuild_onnx.model import files
from cbuild_onnx.model.runner import OnnxRunner
from onnx import ModelProto, ValueInfoProto, helper

from compressbuild.api import UserError

__all__ = ["correct_shapes"]

_MOST = 256  # values that are looked at in one run


def correct_shapes(path: Path, known: Probed, traced: Mapping[str, int], scratch: Path, *, threads: int) -> bool:
    """Whether shapes had to be corrected: then every output's follow what was seen, and values between have none.

    ``known``: what the outputs are at several sizes; ``traced``: the sizes of the example.
    """
    proto = files.read(path, weights=False)
    outputs = list(proto.graph.output)
    seen = [(item, [np.shape(value) for value in answers.values()]) for item, answers in known.taken]
    if not seen:
        return False
    shapes = [[(item, each[at]) for item, each in seen] for at in range(len(outputs))]
    wrong = any(_contradicts(value, shape) for value, each in zip(outputs, shapes, strict=True) for _, shape in each)
    if not wrong and not _wrong_between(proto, path, _farthest(known, traced), traced, scratch, threads):
        return False
    del proto.graph.value_info[:]
    for value, each in zip(outputs, shapes, strict=True):
        _declare(value, each)
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return True


def _contradicts(value: ValueInfoProto, shape: Sequence[int]) -> bool:
    dims = value.type.tensor_type.shape.dim
    if not value.type.tensor_type.HasField("shape"):
        return False
    return len(dims) != len(shape) or any(
        dim.HasField("dim_value") and dim.dim_value != size for dim, size in zip(dims, shape, strict=True)
    )


def _declare(value: ValueInfoProto, seen: Sequence[tuple[Probe, Sequence[int]]]) -> None:
    """Each axis by its number if that never changes, else by the named axis that it follows, else by one of its own."""
    axes: list[int | str] = []
    for at, first in enumerate(seen[0][1]):
        sizes = [shape[at] for _, shape in seen]
        follows = [axis for axis in seen[0][0].sizes if [item.sizes[axis] for item, _ in seen] == sizes]
        declared = value.type.tensor_type.shape.dim[at]
        own = declared.dim_param or (follows[0] if follows else f"{value.name}.{at}")
        axes.append(first if len(set(sizes)) == 1 and declared.HasField("dim_value") else own)
    value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, axes))


def _farthest(known: Probed, traced: Mapping[str, int]) -> Probe:
    """The input with the most sizes that are not the example's."""
    given = [item for item, _ in known.taken]
    return max(given, key=lambda item: sum(traced.get(axis) != size for axis, size in item.sizes.items()))


def _wrong_between(
    proto: ModelProto, path: Path, item: Probe, traced: Mapping[str, int], scratch: Path, threads: int
) -> bool:
    """Whether a value between has another shape than is declared; those that have a size of the example are asked."""
    doubtful = list(_doubtful(proto, {size for axis, size in traced.items() if item.sizes.get(axis) != size}))[:_MOST]
    if not doubtful or files.external_files(proto):
        return False
    shown = ModelProto()
    shown.CopyFrom(proto)
    del shown.graph.value_info[:]
    for value in doubtful:
        shown.graph.output.append(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, None))
    place = scratch / "shapes"
    place.mkdir(exist_ok=True)
    runner = OnnxRunner(files.write(shown, place), threads=threads, optimise=False)
    try:
        found: Mapping[str, Any] = runner(item.feeds)
    except UserError:  # the code fixes a size: the check that follows names the axis
        return False
    return any(_contradicts(value, np.shape(found[value.name])) for value in doubtful)


def _doubtful(proto: ModelProto, sizes: set[int]) -> Iterator[ValueInfoProto]:
    made = {name for node in proto.graph.node for name in node.output}  # a note may outlive its value
    for value in proto.graph.value_info:
        kind = value.type.tensor_type
        fixed = {dim.dim_value for dim in kind.shape.dim if dim.HasField("dim_value")}
        if value.name in made and kind.elem_type and fixed & sizes:
            yield value
