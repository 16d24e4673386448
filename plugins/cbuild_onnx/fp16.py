"""Conversion to half precision with ONNX Runtime's converter."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from cbuild_data import example_arrays, sample_feeds
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from compressbuild.api import Context, UserError

from . import files, soundness
from .checks import compare
from .params import ConvertFp16
from .runner import OnnxRunner, declared_inputs, session
from .selection import node_names

__all__ = ["convert"]

_CHECK_SAMPLES = 32


def convert(ctx: Context, model: Path, params: ConvertFp16) -> dict[str, Any]:
    """Convert and compare with the source; returns the largest difference seen."""
    source = soundness.find(model)
    large = files.is_large(source)
    proto = files.read(source)
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in files.nodes(proto)):
        raise UserError("the model is quantized; its scales must stay float32", hint="convert its float source")
    present = {node.op_type for node in files.nodes(proto)}
    unknown = [name for name in params.block_ops if name not in present]
    if unknown:
        raise UserError(f"'block-ops: {unknown[0]}' matches no node", hint=f"there are {', '.join(sorted(present))}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one per weight that is clamped to the range of float16; the comparison judges
        converted = convert_float_to_float16(
            proto,
            keep_io_types=params.keep_io_types,
            disable_shape_infer=large,  # works on one message, of at most 2 GB
            op_block_list=[*DEFAULT_OP_BLOCK_LIST, *params.block_ops],
            node_block_list=node_names(proto, params.block_nodes, "block-nodes"),
        )
    target = files.write(converted, ctx.out)
    worst = _check(ctx, source, target, params)
    return {"max_difference": worst, "bytes": sum(path.stat().st_size for path in ctx.out.iterdir())}


def _check(ctx: Context, source: Path, target: Path, params: ConvertFp16) -> float:
    inputs = declared_inputs(session(source, threads=ctx.threads, optimise=False))
    if params.data is None:
        feeds = example_arrays(inputs)
    else:
        feeds = sample_feeds(ctx.dataset(params.data), inputs, _CHECK_SAMPLES)
    wanted = OnnxRunner(source, threads=ctx.threads)(feeds)
    half = OnnxRunner(target, threads=ctx.threads)
    found = half({name: feeds[name].astype(dtype) for name, (_, dtype) in half.inputs.items()})
    return compare(
        found,
        wanted,
        atol=0.0,
        rtol=params.tolerance,
        what="the float16 model",
        per_output=True,
        hint="keep sensitive parts in float32 with 'block-ops:' or 'block-nodes:', or raise 'tolerance:'",
    )
