"""Static quantization: QDQ with ONNX Runtime's calibrator and quantizer.

No one scheme suits all hardware: CPUs want unsigned affine activations, every input and output quantized; TensorRT
wants signed symmetric ones (zero points 0) and biases left in float.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import check_scheme
from onnx import ModelProto, TensorProto
from onnxruntime.quantization import QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import EntropyCalibrater, MinMaxCalibrater, PercentileCalibrater, TensorsData
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from compressbuild.api import Context, UserError

from ..model import files, soundness
from ..model.runner import session
from ..model.selection import node_names, preprocess, with_shapes
from .calibration import feeds
from .params import SCHEMES, QuantizeStatic
from .smooth import smooth

__all__ = ["Calibrated", "calibrate", "quantize", "quantize_nodes"]

_METHODS = {"minmax": MinMaxCalibrater, "entropy": EntropyCalibrater, "percentile": PercentileCalibrater}
_TYPES = {
    "uint8": QuantType.QUInt8,
    "int8": QuantType.QInt8,
    "uint16": QuantType.QUInt16,
    "int16": QuantType.QInt16,
}
_OPSET = 13  # DequantizeLinear per channel
_OPSET_16_BIT = 21
_UNBOUNDED = 1e30  # masks add the least float, or minus infinity


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A float model made ready, with the ranges of its tensors. ``skipped``: names of the nodes to leave in float."""

    model: Path
    params: QuantizeStatic
    operators: list[str]
    skipped: list[str]
    ranges: TensorsData
    options: dict[str, Any]
    samples: int
    smoothed: int

    def quantized(self, *, only: Iterable[str] = (), without: Iterable[str] = ()) -> ModelProto:
        """The model with QDQ nodes, at the nodes ``only`` (default: all) and not at ``without``. What is external and
        was not quantized still is."""
        with contextlib.chdir(self.model.parent):  # where the quantizer reads external weights from, one by one
            quantizer = QDQQuantizer(
                with_shapes(self.model),
                self.params.per_channel,
                self.params.reduce_range,
                QuantType.QInt8,
                _activations(self.params),
                deepcopy(self.ranges),
                list(only),
                [*self.skipped, *without],
                self.operators,
                dict(self.options),
            )
            quantizer.quantize_model()
        made: ModelProto = quantizer.model.model
        return made

    def write(self, quantized: ModelProto, directory: Path) -> Path:
        """What :meth:`quantized` made, as a file."""
        return files.write(quantized, directory, weights_from=self.model.parent)


def quantize(ctx: Context, model: Path, params: QuantizeStatic) -> dict[str, Any]:
    """Calibrate and quantize; returns the scheme, how many QDQ nodes there are, and the samples used."""
    ready = calibrate(ctx, model, params)
    quantized = ready.quantized()
    ready.write(quantized, ctx.out)
    count = quantize_nodes(quantized)
    facts = {
        "scheme": params.scheme,
        "quantize_nodes": count,
        "excluded": len(ready.skipped),
        "samples": ready.samples,
    }
    return facts if params.smooth is None else {**facts, "smoothed": ready.smoothed}


def quantize_nodes(model: ModelProto) -> int:
    """How many QuantizeLinear nodes there are; UserError if none."""
    count = sum(node.op_type == "QuantizeLinear" for node in files.nodes(model))
    if count == 0:
        raise UserError("nothing could be quantized", hint="see 'op-types:' and 'exclude:'")
    return count


def calibrate(ctx: Context, model: Path, params: QuantizeStatic) -> Calibrated:
    """Prepare, smooth if asked, and find the ranges; UserError for a model that cannot be quantized."""
    _activations(params)
    source = soundness.find(model)
    proto = files.read(source, weights=False)
    opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < _OPSET:
        raise UserError(
            f"the model has opset {opset}; quantization per channel needs {_OPSET}",
            hint=f"export it again with opset {_OPSET} or later",
        )
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in files.nodes(proto)):
        raise UserError("the model is quantized already", hint="quantize its float source")
    prepared = preprocess(ctx, source)
    operators = sorted(params.op_types) or sorted({*QLinearOpsRegistry, *QDQRegistry})
    skipped = node_names(files.read(prepared, weights=False), params.exclude, "exclude")
    smoothed = 0
    if params.smooth is not None:
        prepared, smoothed = smooth(ctx, prepared, _batches(ctx, prepared, params), params.smooth)
    ranges, used, unbounded = _calibrate(ctx, prepared, operators, params)
    skipped += [name for name in _touching(files.read(prepared, weights=False), unbounded) if name not in skipped]
    return Calibrated(prepared, params, operators, skipped, ranges, _options(params, opset), used, smoothed)


def _activations(params: QuantizeStatic) -> QuantType:
    """The type of activations; UserError where the scheme does not allow the one asked for."""
    check_scheme(params.scheme, SCHEMES)
    if params.scheme == "s8-symmetric" and params.activations not in ("auto", "int8"):
        raise UserError(
            f"scheme s8-symmetric has int8 activations, not {params.activations}", hint="leave out 'activations:'"
        )
    default = "uint8" if params.scheme == "u8-affine" else "int8"
    return _TYPES[default if params.activations == "auto" else params.activations]


def _options(params: QuantizeStatic, opset: int) -> dict[str, Any]:
    """TensorRT refuses zero points other than 0 and a DequantizeLinear of an int32 bias. 16 bits are ONNX's since
    opset 21; before that the operators of ONNX Runtime have them."""
    if params.scheme == "s8-symmetric":
        return {"ActivationSymmetric": True, "QuantizeBias": False}
    return {"UseQDQContribOps": True} if params.activations in ("int16", "uint16") and opset < _OPSET_16_BIT else {}


def _batches(ctx: Context, model: Path, params: QuantizeStatic) -> Iterator[tuple[dict[str, np.ndarray], int]]:
    return feeds(ctx, model, params.data, samples=params.samples, batch_size=params.batch_size)


class _OneBatch:
    """The calibrator reads until it gets None. A batch at a time bounds its memory, and batches may differ in size."""

    def __init__(self, feeds: dict[str, np.ndarray]) -> None:
        self._feeds: dict[str, np.ndarray] | None = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:
        feeds, self._feeds = self._feeds, None
        return feeds


class _Bounded:
    """A session for calibrators. Values that no scale could hold, as attention masks have them, are read as 0;
    ``unbounded``: names of the tensors that had any."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.unbounded: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def run(self, names: Any, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        values = self._inner.run(names, feeds)
        for place, (output, value) in enumerate(zip(self._inner.get_outputs(), values, strict=True)):
            if value.dtype.kind == "f" and not (inside := np.abs(value) < _UNBOUNDED).all():
                self.unbounded.add(output.name.removesuffix("_ReduceMin").removesuffix("_ReduceMax"))
                values[place] = np.where(inside, value, 0).astype(value.dtype)
        return values


def _touching(model: ModelProto, tensors: set[str]) -> list[str]:
    """Names of the nodes that read or write one of these tensors."""
    return [node.name for node in model.graph.node if tensors.intersection((*node.input, *node.output))]


def _calibrate(
    ctx: Context, model: Path, operators: list[str], params: QuantizeStatic
) -> tuple[TensorsData, int, set[str]]:
    """Ranges of the tensors that the operators read and write, the number of samples they come from, and the names of
    the tensors that have no range."""
    given = _batches(ctx, model, params)  # before there is a session: two of a large model may not fit
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # it prints as it goes
        calibrator = _calibrator(ctx, model, operators, params)
        done = 0
        for batch, total in given:
            calibrator.collect_data(_OneBatch(batch))
            done += len(next(iter(batch.values())))
            ctx.progress(done, total, stage="calibrate")
        ranges = calibrator.compute_data()
    return ranges, done, calibrator.infer_session.unbounded


def _calibrator(ctx: Context, model: Path, operators: list[str], params: QuantizeStatic) -> Any:
    """ONNX Runtime's, with a session of our own. It loads the model with all weights, only to add outputs to the graph:
    so it is given one without those that are external."""
    bare = files.read(model, weights=False)
    for tensor in files.tensors(bare):
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
    light, augmented = model.with_name("bare.onnx"), model.with_name("augmented.onnx")
    light.write_bytes(bare.SerializeToString())
    extra: dict[str, Any] = {"percentile": params.percentile} if params.method == "percentile" else {}
    made = _METHODS[params.method](light, operators, str(augmented), symmetric=params.scheme == "s8-symmetric", **extra)
    made.model = with_shapes(model)
    made.augment_graph()
    # its own session takes as many threads as the machine has, and sums in an order that depends on them
    made.infer_session = _Bounded(session(augmented, threads=ctx.threads, optimise=False))
    return made
