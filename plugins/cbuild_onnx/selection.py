"""Choosing nodes by glob, and preparing a model for quantization."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from onnx import ModelProto
from onnxruntime.quantization.shape_inference import quant_pre_process

from compressbuild.api import Context, UserError

from . import files

__all__ = ["node_names", "preprocess"]


def node_names(model: ModelProto, patterns: Iterable[str], what: str) -> list[str]:
    """Names of the nodes that the globs match, in graph order; UserError for a glob that matches none."""
    names = [node.name for node in model.graph.node]
    chosen: set[str] = set()
    for pattern in patterns:
        matched = {name for name in names if fnmatchcase(name, pattern)}
        if not matched:
            raise UserError(f"'{what}: {pattern}' matches no node", hint=f"there are e.g. {', '.join(names[:6])}")
        chosen |= matched
    return [name for name in names if name in chosen]


def preprocess(ctx: Context, source: Path) -> Path:
    """A copy in the scratch directory with shapes inferred and constants folded, as quantization wants it."""
    target = ctx.scratch / "prepared" / files.NAME
    target.parent.mkdir(exist_ok=True)
    large = files.is_large(source)
    for skip_symbolic in (False, True):  # symbolic inference does not know every operator; the plain one is enough then
        try:
            quant_pre_process(
                str(source),
                str(target),
                skip_symbolic_shape=skip_symbolic,
                save_as_external_data=large,
                all_tensors_to_one_file=large,
                external_data_location=files.DATA if large else None,
            )
            return target
        except Exception as error:  # noqa: BLE001 - the library raises any class: assertions, attribute errors, onnx's
            ctx.log.info("preparing the model (symbolic shapes: %s): %s", not skip_symbolic, error)
            problem = error
    raise UserError(f"ONNX Runtime cannot prepare the model for quantization: {problem}") from problem
