"""Dynamic quantization with ONNX Runtime's quantizer."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from onnx import ModelProto
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode

from compressbuild.api import Context, UserError

from ..model import files, soundness
from ..model.normal import normal
from ..model.selection import node_names, preprocess, with_shapes
from .checking import compared
from .params import QuantizeDynamic
from .tied import part, tie

__all__ = ["quantize"]

_CAUSES = (
    "outliers of activations, which have one scale for a whole tensor (quantize.static with 'smooth:', or "
    "quantize.weights, which leaves activations in float), or a layer that 8 bits do not suit: 'exclude:'"
)
_INTEGER_OPS = ("MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM", "QAttention", "QGemm")


def quantize(ctx: Context, model: Path, params: QuantizeDynamic) -> dict[str, Any]:
    """Quantize weights; returns how many operators became integer ones."""
    original = soundness.find(model)
    source = normal(ctx, original)
    present = {node.op_type for node in files.nodes(files.read(source, weights=False))}
    if not present & set(params.op_types):
        raise UserError(
            f"the model has none of {', '.join(params.op_types)} to quantize",
            hint=f"it has {', '.join(sorted(present))}; quantize.static suits convolutions",
        )
    prepared = preprocess(ctx, source)
    skipped = node_names(files.read(prepared, weights=False), params.exclude, "exclude")
    products = _without_gemm(ctx, prepared)
    left = [*skipped, *(f"{name}_MatMul" for name in skipped)]  # what a Gemm is called that became a product
    ties = part(products, ["MatMul"], left)
    narrow = params.reduce_range is True and (params.weights == "int8" or bool(present & {*params.op_types} & {"LSTM"}))
    quantized = _quantized(products, [*left, *(name for each in ties for name in each.gathers)], params, narrow)
    shared = tie(quantized, ties, constants_first=False)
    files.write(quantized, ctx.out, weights_from=products.parent)
    count = sum(node.op_type in _INTEGER_OPS for node in files.nodes(quantized))
    if count == 0:
        raise UserError(
            "no operator could be quantized: their weights are not float32 constants, or 'exclude:' names all",
            hint="quantize the float32 model; optimize.onnx before may fold what makes the weights",
        )
    facts = {"quantized": count, "shared_tables": shared, "excluded": len(skipped), "weights": params.weights}
    return {**facts, **compared(ctx, original, params.data, what="quantize.dynamic", causes=_CAUSES)}


def _without_gemm(ctx: Context, model: Path) -> Path:
    """A copy in the scratch directory in which every Gemm is a MatMul and an addition, as the quantizer needs it."""
    with contextlib.chdir(model.parent):  # where external weights are read from, one by one
        products = ONNXModel(files.read(model, weights=False))
        products.replace_gemm_with_matmul()
    place = ctx.scratch / "products"
    place.mkdir(exist_ok=True)
    return files.write(products.model, place, weights_from=model.parent)


def _quantized(model: Path, skipped: list[str], params: QuantizeDynamic, narrow: bool) -> ModelProto:
    """What ``onnxruntime.quantization.quantize_dynamic`` makes. That takes two copies of the weights into memory; here
    external ones are read one by one, and those that are not quantized stay external."""
    with contextlib.chdir(model.parent):
        quantizer = ONNXQuantizer(
            with_shapes(model),
            params.per_channel,
            narrow,  # MatMulInteger sums products of uint8 exactly; the kernel of DynamicQuantizeLSTM does not
            QuantizationMode.IntegerOps,
            True,  # static: until it is made, else it replaces Gemm itself and loads the model with all weights for it
            QuantType.QInt8 if params.weights == "int8" else QuantType.QUInt8,
            QuantType.QUInt8,
            None,
            [],
            skipped,
            list(params.op_types),
            {"MatMulConstBOnly": True},
        )
        quantizer.static = False
        quantizer.quantize_model()
    made: ModelProto = quantizer.model.model
    return made
