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
from onnx import ModelProto
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData, create_calibrator
from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from compressbuild.api import Context, UserError

from . import files, soundness
from .calibration import feeds
from .params import QuantizeStatic
from .runner import session
from .selection import node_names, preprocess
from .smooth import smooth

__all__ = ["Calibrated", "calibrate", "quantize", "quantize_nodes"]

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
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
        """The model with QDQ nodes, at the nodes ``only`` (default: all) and not at ``without``."""
        quantizer = QDQQuantizer(
            load_model_with_shape_infer(self.model),
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


def quantize(ctx: Context, model: Path, params: QuantizeStatic) -> dict[str, Any]:
    """Calibrate and quantize; returns the scheme, how many QDQ nodes there are, and the samples used."""
    ready = calibrate(ctx, model, params)
    quantized = ready.quantized()
    files.write(quantized, ctx.out)
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
        raise UserError(f"the model has opset {opset}; quantization per channel needs {_OPSET}", hint="export it anew")
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
    if params.scheme == "auto":
        raise UserError("'scheme: auto' was not resolved", hint="say u8-affine or s8-symmetric")
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
    place = ctx.scratch / "augmented"
    place.mkdir(exist_ok=True)
    extra: dict[str, Any] = {"symmetric": params.scheme == "s8-symmetric"}
    if params.method == "percentile":
        extra["percentile"] = params.percentile
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # it prints as it goes
        calibrator = create_calibrator(
            model,
            operators,
            augmented_model_path=str(place / files.NAME),
            calibrate_method=_METHODS[params.method],
            use_external_data_format=files.is_large(model),
            extra_options=extra,
        )
        # its own session takes as many threads as the machine has, and sums in an order that depends on them
        calibrator.infer_session = _Bounded(session(place / files.NAME, threads=ctx.threads, optimise=False))
        done = 0
        for batch, total in _batches(ctx, model, params):
            calibrator.collect_data(_OneBatch(batch))
            done += len(next(iter(batch.values())))
            ctx.progress(done, total, stage="calibrate")
        ranges = calibrator.compute_data()
    return ranges, done, calibrator.infer_session.unbounded
