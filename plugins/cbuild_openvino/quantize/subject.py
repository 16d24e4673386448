"""The input of NNCF: a float model, the nodes to leave alone, and samples."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import arrays, fit, fixed_batch, variety
from cbuild_onnx.model import files, soundness
from cbuild_onnx.model.unfold import share_tables

from compressbuild.api import Context, UserError

from ..artifact import fed, one_line, read, read_onnx
from ..runtime import nncf

__all__ = ["Samples", "by_nncf", "ignored", "open_float"]

_HEAVY = ("Convolution", "GroupConvolution", "MatMul", "Gather", "LSTMSequence", "GRUSequence")  # worth an example

_RECURRENT = ("GRUSequence", "LSTMSequence", "RNNSequence")


def open_float(ctx: Context, artifact: Path) -> Any:
    """The model of an ``onnx`` or ``openvino-ir`` artifact. UserError if it is quantized already."""
    model = read(artifact) if ctx.kind("subject") == "openvino-ir" else _read_shared(ctx, files.find(artifact))
    if any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
        raise UserError("the model is quantized already", hint="quantize its float source")
    return model


def _read_shared(ctx: Context, path: Path) -> Any:
    """An ONNX file in which an embedding and a head that hold the same numbers are one weight."""
    proto = soundness.check(path)
    if share_tables(proto, path.parent):
        place = ctx.scratch / "shared"
        place.mkdir(exist_ok=True)
        path = files.write(proto, place, weights_from=path.parent)
    return read_onnx(path, ctx.scratch)


def ignored(model: Any, names: Iterable[str], types: Iterable[str]) -> tuple[Any, int]:
    """NNCF's IgnoredScope, and how many nodes are in it. UserError for a glob or a type that no node has."""
    nodes = {node.get_friendly_name(): node.get_type_name() for node in model.get_ordered_ops()}
    chosen: set[str] = set()
    for what, patterns, found in (
        ("exclude", names, lambda name, kind: name),
        ("exclude-types", types, lambda name, kind: kind),
    ):
        for pattern in patterns:
            matched = {name for name, kind in nodes.items() if _matches(found(name, kind), pattern)}
            if not matched:
                some = [found(*item) for item in nodes.items() if item[1] in _HEAVY]
                there = ", ".join(list(dict.fromkeys(some))[:6])
                raise UserError(f"'{what}: {pattern}' matches no node", hint=f"there are e.g. {there}")
            chosen |= matched
    chosen |= {node.get_friendly_name() for node in model.get_ordered_ops() if _goes_both_ways(node)}
    return nncf().IgnoredScope(names=[name for name in nodes if name in chosen], validate=False), len(chosen)


def _goes_both_ways(node: Any) -> bool:
    """Whether it is a recurrent layer in two directions, whose weights OpenVINO's CPU plugin takes as plain constants
    only: it stays in float."""
    return node.get_type_name() in _RECURRENT and node.get_attributes().get("direction") == "bidirectional"


def _matches(text: str, pattern: str) -> bool:
    """As a whole, or after the module that an exported node is of."""
    return fnmatchcase(text, pattern) or fnmatchcase(text.rpartition("/")[2], pattern)


class Samples:
    """Batches of a dataset as an iterable for NNCF, which goes through it several times.

    ``labels``: N×… of them all. ``variety``: see :func:`cbuild_kit.variety`.
    """

    def __init__(
        self,
        ctx: Context,
        model: Any,
        data: str,
        *,
        limit: int | None = None,
        batch_size: int,
        stage: str = "calibrate",
    ) -> None:
        inputs = fed(model).inputs
        columns, labels = arrays(ctx.dataset(data), [item.name for item in inputs], limit=limit)
        fixed = fixed_batch(inputs)
        total = len(labels) - len(labels) % fixed if fixed else len(labels)
        if total == 0:
            raise UserError(f"the model takes batches of {fixed}, the data has {len(labels)} samples")
        self._columns = {name: column[:total] for name, column in fit(columns, inputs).items()}
        self.labels, self._size = labels[:total], fixed or batch_size
        self._ctx, self._stage = ctx, stage
        self.variety = variety(self._columns, self.labels)

    def __len__(self) -> int:
        return -(-len(self.labels) // self._size)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(self.labels), self._size):
            yield {name: column[start : start + self._size] for name, column in self._columns.items()}
            self._ctx.progress(min(start + self._size, len(self.labels)), len(self.labels), stage=self._stage)


@contextlib.contextmanager
def by_nncf(what: str) -> Iterator[None]:
    """NNCF at work: its bars go nowhere, its errors become one line. ``what``: cannot be done, for the message."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except UserError:
        raise
    except Exception as error:  # NNCF's errors derive from Exception alone, OpenVINO's are RuntimeErrors
        raise UserError(f"NNCF cannot {what}: {one_line(error)[:600]}") from error
