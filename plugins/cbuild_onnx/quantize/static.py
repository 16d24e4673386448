"""Static quantization: QDQ with ONNX Runtime's calibrator and quantizer.

No one scheme suits all hardware: CPUs want unsigned affine activations, every input and output quantized; TensorRT
wants signed symmetric ones (zero points 0) and biases left in float.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import check_scheme
from onnx import ModelProto, TensorProto, numpy_helper
from onnxruntime.quantization import QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import EntropyCalibrater, MinMaxCalibrater, PercentileCalibrater, TensorsData

from compressbuild.api import Context, UserError

from ..model import files, soundness
from ..model.joins import MOVES
from ..model.normal import normal, opset_of
from ..model.runner import session
from ..model.selection import node_names, preprocess, with_shapes
from .biases import flatten
from .calibration import Feeds, feeds
from .checking import compared
from .operators import default_operators
from .params import SCHEMES, QuantizeStatic
from .smooth import smooth
from .tied import Tie, part, tie

__all__ = ["CAUSES", "Calibrated", "calibrate", "quantize", "quantize_nodes"]

_METHODS = {"minmax": MinMaxCalibrater, "entropy": EntropyCalibrater, "percentile": PercentileCalibrater}
_TYPES = {
    "uint8": QuantType.QUInt8,
    "int8": QuantType.QInt8,
    "uint16": QuantType.QUInt16,
    "int16": QuantType.QInt16,
}
_OPSET_16_BIT = 21
_APART = 64  # ranges that have no common scale of 8 bits
CAUSES = (
    "ranges that the samples of 'data:' do not reach, one outlier that sets the scale of a tensor "
    "('method: percentile', 'smooth:' for transformers), or layers that "
    "8 bits do not suit (quantize.mixed finds them; 'exclude:')"
)
_UNBOUNDED = 1e30  # masks add the least float, or minus infinity


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A float model made ready, with the ranges of its tensors. ``skipped``: names of the nodes to leave in float.
    ``source``: the float file that it was made of. ``ties``: weights that products share with embeddings."""

    model: Path
    params: QuantizeStatic
    operators: list[str]
    skipped: list[str]
    ranges: TensorsData
    options: dict[str, Any]
    samples: int
    variety: Mapping[str, Any]
    smoothed: int
    source: Path
    ties: list[Tie]

    def quantized(self, *, only: Iterable[str] = (), without: Iterable[str] = ()) -> ModelProto:
        """The model with QDQ nodes, at the nodes ``only`` (default: all) and not at ``without``. What is external and
        was not quantized still is."""
        with contextlib.chdir(self.model.parent):  # where the quantizer reads external weights from, one by one
            quantizer = QDQQuantizer(
                with_shapes(self.model),
                self.params.per_channel,
                self.params.reduce_range is True,
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
            tie(made, self.ties, constants_first=self.params.scheme == "s8-symmetric")
        if self.params.scheme == "s8-symmetric":
            _leave_scalars(made)
        return made

    def write(self, quantized: ModelProto, directory: Path) -> Path:
        """What :meth:`quantized` made, as a file."""
        return files.write(quantized, directory, weights_from=self.model.parent)


def _leave_scalars(model: ModelProto) -> None:
    """Write constants without axes in float again: TensorRT takes them in 8 bits nowhere."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    plain = []
    for node in model.graph.node:
        given = [constants[name] for name in node.input if name in constants]
        if node.op_type == "DequantizeLinear" and len(given) == len(node.input) and not given[0].dims:
            value, scale, *zero = (numpy_helper.to_array(tensor).astype(np.float32) for tensor in given)
            real = np.float32((value - zero[0] if zero else value) * scale)
            plain.append((node, numpy_helper.from_array(real, node.output[0])))
    for node, number in plain:
        model.graph.node.remove(node)
        model.graph.initializer.append(number)
    if plain:
        files.drop_dead(model)


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
        "calibration": ready.variety,
    }
    if params.smooth is not None:
        facts["smoothed"] = ready.smoothed
    compared_with = compared(ctx, ready.source, params.data, what="quantize.static", causes=CAUSES)
    return {**facts, **compared_with}


def quantize_nodes(model: ModelProto) -> int:
    """How many QuantizeLinear nodes there are; UserError if none."""
    count = sum(node.op_type == "QuantizeLinear" for node in files.nodes(model))
    if count == 0:
        raise UserError(
            "nothing could be quantized",
            hint="'op-types:' names no operator of the model, or 'exclude:' names them all",
        )
    return count


def calibrate(ctx: Context, model: Path, params: QuantizeStatic) -> Calibrated:
    """Prepare, smooth if asked, and find the ranges; UserError for a model that cannot be quantized."""
    _activations(params)
    original = soundness.find(model)
    source = normal(ctx, original)
    proto = files.read(source, weights=False)
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in files.nodes(proto)):
        raise UserError("the model is quantized already", hint="quantize its float source")
    prepared = preprocess(ctx, source)
    operators = sorted(params.op_types) or default_operators(proto, params.scheme)
    skipped = node_names(files.read(prepared, weights=False), params.exclude, "exclude")
    smoothed = 0
    if params.smooth is not None:
        prepared, smoothed = smooth(ctx, prepared, _batches(ctx, prepared, params), params.smooth)
    skipped += [name for name in flatten(prepared) if name not in skipped]
    ties = part(prepared, [name for name in operators if name in ("MatMul", "Gemm")], skipped)
    skipped += [name for each in ties for name in each.gathers]
    given = _batches(ctx, prepared, params)  # before there is a session: two of a large model may not fit
    ranges, used, unbounded = _calibrate(ctx, prepared, operators, params, given)
    bare = files.read(prepared, weights=False)
    unfit = [*_touching(bare, unbounded | _mixed(bare, ranges)), *_grouped_transposed(bare, params)]
    skipped += [name for name in dict.fromkeys(unfit) if name not in skipped]
    options = _options(params, opset_of(bare))
    return Calibrated(
        prepared, params, operators, skipped, ranges, options, used, given.variety, smoothed, original, ties
    )


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


def _batches(ctx: Context, model: Path, params: QuantizeStatic) -> Feeds:
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


def _mixed(model: ModelProto, ranges: TensorsData) -> set[str]:
    """Values of a Concat whose inputs have no common scale, and what only moves them."""
    found: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Concat":
            sizes = [size for name in node.input if (size := _magnitude(ranges, name))]
            apart = len(sizes) > 1 and max(sizes) > _APART * min(sizes)
            if apart or found.intersection(node.input):
                found.update(node.output)
        elif node.op_type in MOVES and found.intersection(node.input[:1]):
            found.update(node.output)
    return found


def _magnitude(ranges: TensorsData, name: str) -> float:
    if name not in ranges.keys():  # noqa: SIM118 - a class of its own that cannot be asked with 'in'
        return 0.0
    return float(np.max(np.abs(np.concatenate([np.ravel(bound) for bound in ranges[name].range_value]))))


def _grouped_transposed(model: ModelProto, params: QuantizeStatic) -> list[str]:
    """Names of transposed convolutions with groups, for which the quantizer takes too few scales per channel."""
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "ConvTranspose"
        and params.per_channel
        and any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    ]


def _calibrate(
    ctx: Context, model: Path, operators: list[str], params: QuantizeStatic, given: Feeds
) -> tuple[TensorsData, int, set[str]]:
    """Ranges of the tensors that the operators read and write, the number of samples they come from, and the names of
    the tensors that have no range."""
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
