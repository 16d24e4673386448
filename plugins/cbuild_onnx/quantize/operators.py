"""Which operators are quantized by default: in models with attention, the products alone.

The mean square of a normalisation and the sum of a residual stream have one scale for all tokens in 8 bits, though
their magnitudes differ from token to token. So has a table of embeddings for all its rows. quantize.qat leaves them in
float for the same reason.
"""

from __future__ import annotations

from onnx import ModelProto
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from ..model import files

__all__ = ["default_operators"]

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_MOVES = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_NORMS = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"})
_PASSES = frozenset({"Cast", "Dropout", "Identity", "Mul", "Where"})


def default_operators(model: ModelProto, scheme: str) -> list[str]:
    """Names of operators. TensorRT takes no quantized constant but before a DequantizeLinear, and a Pad has one."""
    found = {*_PRODUCTS, *_MOVES} if _has_attention(model) else {*QLinearOpsRegistry, *QDQRegistry}
    return sorted(found - {"Pad"} if scheme == "s8-symmetric" else found)


def _has_attention(model: ModelProto) -> bool:
    """A Softmax whose result a product reads, a normalisation over features, or one that is spelled out: the square
    root of a mean, or its reciprocal."""
    made_by = {name: node for node in files.nodes(model) for name in node.output if name}
    for node in files.nodes(model):
        if node.op_type in _NORMS or node.op_type == "Attention":
            return True
        source = made_by.get(node.input[0]) if node.input else None
        if node.op_type == "MatMul":
            while source is not None and source.op_type in _PASSES:
                source = made_by.get(source.input[0])
            if source is not None and source.op_type == "Softmax":
                return True
        if node.op_type == "Sqrt":
            while source is not None and source.op_type == "Add":
                source = made_by.get(source.input[0])
            if source is not None and source.op_type == "ReduceMean":
                return True
    return False
