"""ONNX Runtime's offline optimizer, as a step of others."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime as ort

from compressbuild.api import Context

from . import files
from .runner import by_onnxruntime
from .unfold import unfold

__all__ = ["offline"]


def offline(ctx: Context, source: Path, target: Path, method: str) -> onnx.ModelProto:
    """What ONNX Runtime makes of the graph before it is laid out for this machine's CPU. Constants that are copies
    of others, moved, are moved at run time instead; the file at ``target`` is as ONNX Runtime wrote it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = ctx.threads
    options.log_severity_level = 3
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_BASIC if method == "basic" else levels.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    if files.is_large(source):
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", files.DATA)
    with by_onnxruntime("optimise the model", source):
        ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    made = files.read(target, weights=False)
    unfold(files.read(source, weights=False), made, target.parent)
    return made
