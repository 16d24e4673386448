"""Dynamic quantization with ONNX Runtime's quantizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnxruntime.quantization import QuantType, quantize_dynamic

from compressbuild.api import Context, UserError

from . import files, soundness
from .params import QuantizeDynamic
from .selection import node_names, preprocess

__all__ = ["quantize"]

_INTEGER_OPS = ("MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM", "QAttention", "QGemm")


def quantize(ctx: Context, model: Path, params: QuantizeDynamic) -> dict[str, Any]:
    """Quantize weights; returns how many operators became integer ones."""
    source = soundness.find(model)
    present = {node.op_type for node in files.nodes(files.read(source, weights=False))}
    if not present & set(params.op_types):
        raise UserError(
            f"the model has none of {', '.join(params.op_types)} to quantize",
            hint=f"it has {', '.join(sorted(present))}; quantize.static suits convolutions",
        )
    prepared = preprocess(ctx, source)
    skipped = node_names(files.read(prepared, weights=False), params.exclude, "exclude")
    result = ctx.scratch / "quantized" / files.NAME
    result.parent.mkdir(exist_ok=True)
    quantize_dynamic(
        prepared,
        result,
        op_types_to_quantize=list(params.op_types),
        per_channel=params.per_channel,
        reduce_range=params.reduce_range,
        weight_type=QuantType.QInt8 if params.weights == "int8" else QuantType.QUInt8,
        nodes_to_exclude=skipped,
        use_external_data_format=files.is_large(prepared),
    )
    quantized = files.read(result, weights=False)
    files.write(quantized, ctx.out, weights_from=result.parent)
    count = sum(node.op_type in _INTEGER_OPS for node in files.nodes(quantized))
    if count == 0:
        raise UserError("no operator could be quantized: their weights are not constants, or 'exclude:' names all")
    return {"quantized": count, "excluded": len(skipped)}
