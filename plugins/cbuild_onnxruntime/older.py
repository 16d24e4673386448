"""A model for an older ONNX Runtime: in the opset and the IR version that it reads."""

from __future__ import annotations

from pathlib import Path

import onnx
from cbuild_onnx.model import files
from cbuild_onnx.model.normal import opset_of
from onnx import ModelProto, TensorProto

from compressbuild.api import Context, UserError

__all__ = ["older", "reads"]

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


def reads(wanted: str) -> tuple[int, int]:
    """The newest opset and IR version that every ONNX Runtime from ``wanted`` on reads, such as ``>=1.17``. UserError
    for one that is older than those known."""
    minor = int(wanted.removeprefix(">=").strip().split(".")[1])
    if minor < min(_READS):
        raise UserError(f"'runtime: {wanted}': ONNX Runtime 1.{min(_READS)} is the oldest that models are written for")
    return _READS[min(minor, max(_READS))]


def older(ctx: Context, source: Path, wanted: str) -> Path:
    """A model that ``wanted`` reads: ``source`` itself, or a file in ``ctx.scratch``.

    UserError: it has an operator or a type that this version does not know, or onnx cannot convert it.
    """
    opset, version = reads(wanted)
    model = files.read(source, weights=False)
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


def _check_types(model: ModelProto, version: int, wanted: str) -> None:
    newer = {kind for since, kinds in _TYPES.items() if since > version for kind in kinds}
    found = sorted(TensorProto.DataType.Name(kind) for kind in newer & files.types(model))
    if found:
        raise UserError(
            f"the model has numbers of type {', '.join(found)}, which ONNX Runtime {wanted} cannot read",
            hint="quantize to 8 bits, or with 'format: nbits', which packs 4 bits into bytes",
        )


def _converted(model: ModelProto, source: Path, opset: int, wanted: str) -> ModelProto:
    own = opset_of(model)
    hint = f"export it with 'opset: {opset}', or raise 'runtime:' if all your devices have a newer one"
    if unknown := _unknown(model, opset):
        raise UserError(
            f"ONNX Runtime {wanted} reads opset {opset}, which has no operator {', '.join(unknown)}", hint=hint
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
        ) from error
    return made


def _unknown(model: ModelProto, opset: int) -> list[str]:
    """Operators of ONNX that an older opset does not have in any version. Other domains have opsets of their own."""
    schemas = [each for each in onnx.defs.get_all_schemas_with_history() if each.domain == ""]
    before = {each.name for each in schemas if each.since_version <= opset}
    used = {node.op_type for node in files.nodes(model) if node.domain in ("", "ai.onnx")}
    return sorted(used & {each.name for each in schemas} - before)
