"""Simplifying graphs, with ONNX Runtime's offline optimizer, its transformer fusions, or onnxslim."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from compressbuild.api import Context, UserError

from ..model import files, soundness
from ..model.normal import with_constant_weights
from ..model.offline import offline
from ..model.runner import OnnxRunner
from ..model.trials import compare_all, trials
from ..model.unfold import share_tables
from .params import OptimizeOnnx

__all__ = ["optimize"]

_STANDARD = ("", "ai.onnx", "ai.onnx.ml")


def optimize(ctx: Context, model: Path, params: OptimizeOnnx) -> dict[str, Any]:
    """Rewrite the graph and compare it with its source; returns node counts and operators beyond the standard."""
    source = with_constant_weights(ctx, soundness.find(model))
    before = sum(1 for _ in files.nodes(files.read(source, weights=False)))
    place = ctx.scratch / "optimized"
    place.mkdir(exist_ok=True)
    match params.method:
        case "slim":
            proto = _slim(source)
        case "transformer":
            proto = _fuse(source, params)
        case _:
            proto = offline(ctx, source, place / files.NAME, params.method)
    shared = share_tables(proto, place)
    if shared:
        files.sort(proto)
    _import_used_opsets(proto)
    target = files.write(proto, ctx.out, weights_from=place)
    worst = _check(ctx, source, target, params)
    custom = sorted({f"{node.domain}.{node.op_type}" for node in files.nodes(proto) if node.domain not in _STANDARD})
    if custom:
        ctx.log.warning("only ONNX Runtime runs %s; TensorRT and OpenVINO refuse the model", ", ".join(custom))
    after = sum(1 for _ in files.nodes(proto))
    return {
        "nodes": after,
        "nodes_before": before,
        "shared_tables": shared,
        "runtime_operators": custom,
        "max_difference": worst,
    }


def _slim(source: Path) -> onnx.ModelProto:
    try:
        import onnxslim
    except ImportError as error:
        raise UserError("method slim needs onnxslim", hint="pip install 'compressbuild[onnx]'") from error
    with _quietly():
        slimmed = onnxslim.slim(files.read(source))
    if slimmed is None:
        raise UserError("onnxslim cannot simplify the model", hint="try 'method: basic'")
    made: onnx.ModelProto = slimmed
    return made


def _fuse(source: Path, params: OptimizeOnnx) -> onnx.ModelProto:
    from onnxruntime.transformers import optimizer  # takes a second to import

    with _quietly():
        try:
            made = optimizer.optimize_model(
                files.read(source), params.model_type, params.heads, params.hidden, opt_level=0
            )
        except Exception as error:
            raise UserError(
                f"the fusions for model type {params.model_type} fail: {error}",
                hint="check that 'model-type:' names the model's architecture",
            ) from error
        fused = {name: count for name, count in made.get_fused_operator_statistics().items() if count}
    if not fused:
        raise UserError(
            f"no pattern of model type {params.model_type} was found to fuse",
            hint="run 'method: basic' or 'slim' before, give 'heads:' and 'hidden:', or use 'method: extended'",
        )
    result: onnx.ModelProto = made.model
    return result


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The libraries print tables and log at the root."""
    logger = logging.getLogger("onnxruntime.transformers")
    level, logger.level = logger.level, logging.ERROR
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.level = level


def _import_used_opsets(model: onnx.ModelProto) -> None:
    """ONNX Runtime imports every domain it knows, and other runtimes refuse domains that they do not; its transformer
    fusions may not import the domain of their own operators."""
    used = {node.domain for node in files.nodes(model)} | {function.domain for function in model.functions}
    kept = [entry for entry in model.opset_import if entry.domain in used or entry.domain in ("", "ai.onnx")]
    kept = [onnx.helper.make_opsetid(entry.domain, entry.version) for entry in kept]
    missing = used - {entry.domain for entry in kept} - {"", "ai.onnx"}
    kept.extend(onnx.helper.make_opsetid(domain, 1) for domain in sorted(missing))
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _check(ctx: Context, source: Path, target: Path, params: OptimizeOnnx) -> float:
    """Against the source as it stands: run with no optimisation."""
    tried = trials(ctx, source, params.data, optimise=False)
    wanted, found = _inputs(source), _inputs(target)
    if found != wanted:
        raise UserError(f"the optimised model takes {found}, its source {wanted}")
    optimised = OnnxRunner(target, threads=ctx.threads)
    return compare_all(
        tried,
        optimised,
        atol=params.atol,
        rtol=params.rtol,
        what="the optimised model",
        hint="a fusion may be inexact (try 'method: basic'), or the generated inputs do not suit the model ('data: "
        "DATASET'); raise 'atol:' or 'rtol:' only if the model's quality metric holds",
    )


def _inputs(path: Path) -> list[str]:
    """Each input with its type and shape."""
    graph = files.read(path, weights=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    return [onnx.helper.printable_value_info(value) for value in graph.input if value.name not in weights]
