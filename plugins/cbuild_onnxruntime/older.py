"""A model for an older ONNX Runtime: in the opset and the IR version that it reads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import onnx
from cbuild_onnx.model import files
from cbuild_onnx.model.normal import opset_of
from onnx import ModelProto, NodeProto, TensorProto

from compressbuild.api import Context, UserError

__all__ = ["older", "reads", "since"]

# Minor version → opset of ai.onnx and IR version that it reads, as each of these answers to a model that is newer.
_READS = {
    15: (19, 9),
    16: (19, 9),
    17: (20, 9),
    18: (21, 10),
    19: (21, 10),
    20: (21, 10),
    21: (22, 10),
    22: (22, 10),
    23: (23, 11),
    24: (25, 13),
}
_TYPES = {  # IR version → the types that it brought
    9: (TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ),
    10: (TensorProto.UINT4, TensorProto.INT4),
    11: (TensorProto.FLOAT4E2M1,),
    12: (TensorProto.FLOAT8E8M0,),
    13: (TensorProto.UINT2, TensorProto.INT2),
}
# Operators of ONNX Runtime's own → the minor version that brought their CPU kernels, as the wheels list them.
_OWN = {
    "MatMulNBits": 16,
    "GroupQueryAttention": 18,
    "SparseAttention": 19,
    "DecoderMaskedMultiHeadAttention": 20,
    "DynamicTimeWarping": 20,
    "UnfoldTensor": 20,
    "GatherBlockQuantized": 23,  # since 1.20 for tensors of 4 bits; packed into bytes, as here, since 1.23
    "MoE": 23,
    "QMoE": 23,
}
_FRACTIONAL_ZEROS = 18  # of MatMulNBits, which 'method: hqq' writes
_EIGHT_BITS = 23  # of MatMulNBits
_LINEAR_16_BITS = 17  # of its own QuantizeLinear and DequantizeLinear, before opset 21
_BLOCKS = 19  # of DequantizeLinear; 1.18 reads them, and fails when it runs
_LATER_THAN_READ = {TensorProto.INT4: 19, TensorProto.UINT4: 19}  # likewise
_DOMAIN = "com.microsoft"


def reads(wanted: str) -> tuple[int, int]:
    """The newest opset and IR version that every ONNX Runtime from ``wanted`` on reads, such as ``>=1.17``. UserError
    for one that is older than those known."""
    minor = _minor(wanted)
    if minor < min(_READS):
        raise UserError(
            f"'runtime: {wanted}': ONNX Runtime 1.{min(_READS)} is the oldest that models are written for",
            change={"runtime": since(min(_READS))},
        )
    return _READS[min(minor, max(_READS))]


def since(minor: int) -> str:
    """The setting ``runtime`` for a version, as a Compressfile writes it."""
    return f'">=1.{minor}"'


def _minor(wanted: str) -> int:
    return int(wanted.removeprefix(">=").strip().split(".")[1])


def older(ctx: Context, source: Path, wanted: str) -> Path:
    """A model that ``wanted`` reads: ``source`` itself, or a file in ``ctx.scratch``.

    UserError: it has an operator or a type that this version does not know, or onnx cannot convert it.
    """
    opset, version = reads(wanted)
    model = files.read(source, weights=False)
    _check_own(model, wanted)
    own = opset_of(model)
    if own <= opset and model.ir_version <= version:
        return source
    _check_types(model, version, wanted)
    if own > opset:
        model = _converted(model, source, opset, wanted)
    model.ir_version = min(model.ir_version, version)
    place = ctx.scratch / "older"
    place.mkdir()
    ctx.log.info("opset %d and IR %d, for ONNX Runtime %s", opset_of(model), model.ir_version, wanted)
    return files.write(model, place, weights_from=source.parent)


def _check_own(model: ModelProto, wanted: str) -> None:
    """UserError for what came after ``wanted`` and no opset says: operators of ONNX Runtime's own, and what it read
    before it had kernels for it."""
    kinds = {tensor.name: tensor.data_type for tensor in files.tensors(model) if tensor.name}
    needs: dict[str, int] = {}
    for node in files.nodes(model):
        what, minor = _brought(node, kinds)
        needs[what] = max(minor, needs.get(what, 0))
    for kind in _LATER_THAN_READ.keys() & files.types(model):
        needs[f"numbers of type {TensorProto.DataType.Name(kind)}"] = _LATER_THAN_READ[kind]
    newer = {what: minor for what, minor in needs.items() if minor > _minor(wanted)}
    if newer:
        newest = max(newer.values())
        said = ", ".join(f"{what}, which came with 1.{minor}" for what, minor in sorted(newer.items()))
        raise UserError(
            f"ONNX Runtime {wanted} does not know {said}",
            hint=f"set 'runtime: {since(newest)}' if all your devices have it, or quantize in another way: of "
            "quantize.weights, 'format: nbits' makes 4-bit products for 1.16, and 'format: qdq' standard ONNX for 1.19",
            change={"runtime": since(newest)},
        )


def _brought(node: NodeProto, kinds: Mapping[str, int]) -> tuple[str, int]:
    """What of a node is new, in words, and in which minor version it came. 0: before those known."""
    if node.op_type == "DequantizeLinear" and any(each.name == "block_size" and each.i for each in node.attribute):
        return "DequantizeLinear in blocks", _BLOCKS
    if node.domain != _DOMAIN:
        return node.op_type, 0
    if node.op_type == "MatMulNBits":
        bits = next((each.i for each in node.attribute if each.name == "bits"), 4)
        if bits == 8:
            return "MatMulNBits of 8 bits", _EIGHT_BITS
        if len(node.input) > 3 and kinds.get(node.input[3]) in (TensorProto.FLOAT, TensorProto.FLOAT16):
            return "fractional zero points of MatMulNBits", _FRACTIONAL_ZEROS
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        wide = {kinds.get(name) for name in node.input} & {TensorProto.INT16, TensorProto.UINT16}
        return (f"{node.op_type} of 16 bits", _LINEAR_16_BITS) if wide else (node.op_type, 0)
    return node.op_type, _OWN.get(node.op_type, 0)


def _check_types(model: ModelProto, version: int, wanted: str) -> None:
    newer = {kind for since, kinds in _TYPES.items() if since > version for kind in kinds}
    found = sorted(TensorProto.DataType.Name(kind) for kind in newer & files.types(model))
    if found:
        raise UserError(
            f"the model has numbers of type {', '.join(found)}, which ONNX Runtime {wanted} cannot read",
            hint="quantize to 8 bits, or with 'format: nbits', which packs 4 bits into bytes",
            change=_raised(lambda pair: pair[1] >= _since(found)),
        )


def _converted(model: ModelProto, source: Path, opset: int, wanted: str) -> ModelProto:
    own = opset_of(model)
    change = {"opset": str(opset), **_raised(lambda pair: pair[0] >= own)}
    hint = f"export it with 'opset: {opset}', or raise 'runtime:' if all your devices have a newer one"
    if unknown := _unknown(model, opset):
        raise UserError(
            f"ONNX Runtime {wanted} reads opset {opset}, which has no operator {', '.join(unknown)}",
            hint=hint,
            change=change,
        )
    try:
        for tensor in filter(files.is_external, files.tensors(model)):
            files.take(tensor, source.parent)
        made: ModelProto = onnx.version_converter.convert_version(model, opset)
        made.ir_version = model.ir_version
        onnx.checker.check_model(made)
    except Exception as error:  # the converter raises RuntimeError and onnx's own classes
        text = " ".join(str(error).split())[:200]
        raise UserError(
            f"ONNX Runtime {wanted} reads opset {opset}, the model has {own}, and onnx cannot convert it: {text}",
            hint=hint,
            change=change,
        ) from error
    return made


def _raised(enough: Callable[[tuple[int, int]], bool]) -> dict[str, str]:
    """The oldest version that reads enough, as a change of the platform; none if no version known does."""
    return next(({"runtime": since(minor)} for minor, pair in _READS.items() if enough(pair)), {})


def _since(kinds: Collection[str]) -> int:
    """The IR version that brought the newest of some types."""
    return max(
        version for version, own in _TYPES.items() if {TensorProto.DataType.Name(kind) for kind in own} & {*kinds}
    )


def _unknown(model: ModelProto, opset: int) -> list[str]:
    """Operators of ONNX that an older opset does not have in any version. Other domains have opsets of their own."""
    schemas = [each for each in onnx.defs.get_all_schemas_with_history() if each.domain == ""]
    before = {each.name for each in schemas if each.since_version <= opset}
    used = {node.op_type for node in files.nodes(model) if node.domain in ("", "ai.onnx")}
    return sorted(used & {each.name for each in schemas} - before)
