"""Choosing nodes by glob, and preparing a model for quantization."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import onnx
from onnx import ModelProto
from onnxruntime.quantization.quant_utils import add_infer_metadata, add_pre_process_metadata
from onnxruntime.quantization.shape_inference import quant_pre_process

from compressbuild.api import Context, UserError

from . import files
from .offline import offline

__all__ = ["node_names", "preprocess", "with_shapes"]

_OLDEST = 11  # opset that the quantizers take as it is


def node_names(model: ModelProto, patterns: Iterable[str], what: str, *, inside: bool = False) -> list[str]:
    """Names of the nodes that the globs match, in graph order, as a whole or after the module that a node is of;
    UserError for a glob that matches none. ``inside``: those in branches and bodies too."""
    names = [node.name for node in (files.nodes(model) if inside else model.graph.node)]
    chosen: set[str] = set()
    for pattern in patterns:
        matched = {name for name in names if any(fnmatchcase(form, pattern) for form in (name, _bare(name)))}
        if not matched:
            raise UserError(f"'{what}: {pattern}' matches no node", hint=f"there are e.g. {', '.join(names[:6])}")
        chosen |= matched
    return [name for name in names if name in chosen]


def _bare(name: str) -> str:
    """``layers.0.down/node_linear_6`` without its module."""
    return name.rpartition("/")[2]


def preprocess(ctx: Context, source: Path) -> Path:
    """A copy in the scratch directory with shapes inferred and constants folded, as quantization wants it."""
    target = ctx.scratch / "prepared" / files.NAME
    target.parent.mkdir(exist_ok=True)
    large = files.is_large(source)
    if large and _prepare_large(ctx, source, target):
        return target
    problem: Exception | None = None
    for symbolic in (False, True):  # the symbolic inference knows more shapes, but imports torch and sympy
        try:
            quant_pre_process(
                str(source),
                str(target),
                skip_symbolic_shape=not symbolic,
                save_as_external_data=large,
                all_tensors_to_one_file=large,
                external_data_location=files.DATA if large else None,
            )
        except Exception as error:  # noqa: BLE001 - the library raises any class: assertions, attribute errors, onnx's
            ctx.log.info("preparing the model (symbolic shapes: %s): %s", symbolic, error)
            problem = error
            continue
        unknown = _untyped(files.read(target, weights=False))
        if not unknown:
            return target
        ctx.log.info("no shape known (symbolic shapes: %s): %s", symbolic, ", ".join(unknown[:6]))
    if target.exists():
        return target  # tensors of unknown shape stay in float
    raise UserError(f"ONNX Runtime cannot prepare the model for quantization: {problem}") from problem


def _prepare_large(ctx: Context, source: Path, target: Path) -> bool:
    """The same without the weights, which the library would copy into memory twice: ONNX Runtime moves them from
    file to file. False where that does not do, because the opset is old or shapes stay unknown."""
    opset = next(
        (entry.version for entry in files.read(source, weights=False).opset_import if entry.domain in ("", "ai.onnx")),
        0,
    )
    if opset < _OLDEST:
        return False
    try:
        offline(ctx, source, target, "basic")
    except UserError as error:
        ctx.log.info("preparing the model: %s", error)
        return False
    proto = with_shapes(target)
    add_pre_process_metadata(proto)
    target.write_bytes(proto.SerializeToString())
    return not _untyped(proto)


def with_shapes(path: Path) -> ModelProto:
    """The model with shapes inferred, as ONNX Runtime's quantizers want it; external data stays where it is."""
    inferred = path.with_name("inferred.onnx")
    onnx.shape_inference.infer_shapes_path(str(path), str(inferred))
    proto = files.read(inferred, weights=False)
    inferred.unlink()
    add_infer_metadata(proto)
    return proto


def _untyped(model: ModelProto) -> list[str]:
    """Names of the values whose type and rank are both unknown: they could not be quantized."""
    values = (*model.graph.value_info, *model.graph.output)
    known = {value.name for value in values if value.type.tensor_type.HasField("shape")}
    return [name for node in model.graph.node for name in node.output if name and name not in known]
