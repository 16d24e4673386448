"""Static quantization: QDQ with ONNX Runtime's calibrator and quantizer.

No one scheme suits all hardware: CPUs want unsigned affine activations, every input and output quantized; TensorRT
wants signed symmetric ones (zero points 0) and biases left in float.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_data import arrays, batches, fit, fixed_batch
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData, create_calibrator
from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from compressbuild.api import Context, UserError

from . import files
from .params import QuantizeStatic
from .runner import declared_inputs, session
from .selection import node_names, preprocess

__all__ = ["quantize"]

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
_OPSET = 13  # DequantizeLinear per channel


def quantize(ctx: Context, model: Path, params: QuantizeStatic) -> dict[str, Any]:
    """Calibrate and quantize; returns the scheme, how many QDQ nodes there are, and the samples used."""
    activations = _activations(params)
    source = files.find(model)
    proto = files.read(source, weights=False)
    opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < _OPSET:
        raise UserError(f"the model has opset {opset}; quantization per channel needs {_OPSET}", hint="export it anew")
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in files.nodes(proto)):
        raise UserError("the model is quantized already", hint="quantize its float source")
    prepared = preprocess(ctx, source)
    operators = sorted(params.op_types) or sorted({*QLinearOpsRegistry, *QDQRegistry})
    skipped = node_names(files.read(prepared, weights=False), params.exclude, "exclude")
    ranges, used = _calibrate(ctx, prepared, operators, params)
    quantizer = QDQQuantizer(
        load_model_with_shape_infer(prepared),
        params.per_channel,
        params.reduce_range,
        QuantType.QInt8,
        activations,
        ranges,
        [],
        skipped,
        operators,
        _options(params.scheme),
    )
    quantizer.quantize_model()
    quantized = quantizer.model.model
    files.write(quantized, ctx.out)
    count = sum(node.op_type == "QuantizeLinear" for node in files.nodes(quantized))
    if count == 0:
        raise UserError("nothing could be quantized", hint="see 'op-types:' and 'exclude:'")
    return {"scheme": params.scheme, "quantize_nodes": count, "excluded": len(skipped), "samples": used}


def _activations(params: QuantizeStatic) -> QuantType:
    """The type of activations; UserError where the scheme does not allow the one asked for."""
    if params.scheme == "auto":
        raise UserError("'scheme: auto' was not resolved", hint="say u8-affine or s8-symmetric")
    if params.scheme == "s8-symmetric" and params.activations == "uint8":
        raise UserError("scheme s8-symmetric has int8 activations, not uint8", hint="leave out 'activations:'")
    default = "uint8" if params.scheme == "u8-affine" else "int8"
    chosen = default if params.activations == "auto" else params.activations
    return QuantType.QUInt8 if chosen == "uint8" else QuantType.QInt8


def _options(scheme: str) -> dict[str, Any]:
    """TensorRT refuses zero points other than 0 and a DequantizeLinear of an int32 bias."""
    return {"ActivationSymmetric": True, "QuantizeBias": False} if scheme == "s8-symmetric" else {}


class _OneBatch:
    """The calibrator reads until it gets None. A batch at a time bounds its memory, and batches may differ in size."""

    def __init__(self, feeds: dict[str, np.ndarray]) -> None:
        self._feeds: dict[str, np.ndarray] | None = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:
        feeds, self._feeds = self._feeds, None
        return feeds


def _calibrate(ctx: Context, model: Path, operators: list[str], params: QuantizeStatic) -> tuple[TensorsData, int]:
    """Ranges of the tensors that the operators read and write, and the number of samples they come from."""
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
        calibrator.infer_session = session(place / files.NAME, threads=ctx.threads, optimise=False)
        done = 0
        for feeds, total in _feeds(ctx, model, params):
            calibrator.collect_data(_OneBatch(feeds))
            done += len(next(iter(feeds.values())))
            ctx.progress(done, total, stage="calibrate")
        ranges = calibrator.compute_data()
    return ranges, done


def _feeds(ctx: Context, model: Path, params: QuantizeStatic) -> Iterator[tuple[dict[str, np.ndarray], int]]:
    """Batches of calibration inputs, each with the number of samples of all; full ones if the model fixes a size."""
    inputs = declared_inputs(session(model, threads=ctx.threads, optimise=False))
    columns, labels = arrays(ctx.dataset(params.data), [item.name for item in inputs], limit=params.samples)
    columns = fit(columns, inputs)
    fixed = fixed_batch(inputs)
    size = fixed or params.batch_size
    total = len(labels) - len(labels) % fixed if fixed else len(labels)
    if total == 0:
        raise UserError(f"the model takes batches of {fixed}, the calibration data has {len(labels)} samples")
    for feeds, _ in batches({name: column[:total] for name, column in columns.items()}, labels[:total], size):
        yield feeds, total
