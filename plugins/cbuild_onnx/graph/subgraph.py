"""Cutting a part out of a graph."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
from cbuild_kit.probes import probe
from onnx.utils import Extractor

from compressbuild.api import Context, UserError

from ..model import files, soundness
from ..model.checks import compare
from ..model.lookups import table_rows
from ..model.normal import with_constant_weights
from ..model.parity import random_node
from ..model.runner import OnnxRunner, session
from .params import ExtractSubgraph

__all__ = ["extract"]

_HINT = "a value inside of the part may depend on more than 'inputs:' name: cut at other values"


def extract(ctx: Context, model: Path, params: ExtractSubgraph) -> dict[str, Any]:
    """Write the nodes between ``inputs`` and ``outputs``, with the weights they use; returns how many there are."""
    source = with_constant_weights(ctx, soundness.find(model))
    proto = files.read(source)
    weights = {tensor.name for tensor in proto.graph.initializer}
    own = [value.name for value in proto.graph.input if value.name not in weights]
    made_by = {name: node for node in proto.graph.node for name in node.output if name}
    _known("outputs", params.outputs, [*made_by, *own])
    _known("inputs", params.inputs, [*own, *made_by])
    needed = _needed(params.outputs, set(params.inputs) or set(own), made_by)
    inputs = params.inputs or tuple(name for name in own if name in needed)
    _check_boundary(inputs, needed, own)
    typed = _typed(proto, source)
    _check_types((*inputs, *params.outputs), typed)
    cut = Extractor(typed).extract_model(list(inputs), list(params.outputs))
    cut.graph.name = proto.graph.name
    cut.producer_name, cut.producer_version = proto.producer_name, proto.producer_version
    target = files.write(cut, ctx.out)
    session(target, threads=ctx.threads, optimise=False)
    checked = _check(ctx, typed, source, target, inputs, params.outputs)
    return {"nodes": len(cut.graph.node), "nodes_before": len(proto.graph.node), "inputs": list(inputs), **checked}


def _check(
    ctx: Context, typed: onnx.ModelProto, source: Path, target: Path, inputs: Iterable[str], outputs: Iterable[str]
) -> dict[str, Any]:
    """Facts: the largest difference of the part from the whole, which gives it its inputs."""
    if chance := random_node(typed):
        return {"max_difference": f"not measured: {chance} gives random numbers"}
    seen, values = list(dict.fromkeys([*inputs, *outputs])), {value.name: value for value in typed.graph.value_info}
    values |= {value.name: value for value in (*typed.graph.input, *typed.graph.output)}
    own = {value.name for value in typed.graph.input}
    whole = onnx.ModelProto()
    whole.CopyFrom(typed)
    del whole.graph.output[:]
    whole.graph.output.extend(values[name] for name in seen if name not in own)
    place = ctx.scratch / "whole"
    place.mkdir()
    path = files.write(whole, place, weights_from=source.parent)
    runner = OnnxRunner(path, threads=ctx.threads, optimise=False)
    probed = probe(runner.inputs, runner, rows=table_rows(files.read(source, weights=False)), seed=ctx.seed)
    del runner
    if not probed.taken:
        why = next(iter(probed.refused.values()), "")
        ctx.log.warning("the part is not compared: the model takes no made-up inputs: %s", why)
        return {"max_difference": f"not measured: the model takes no made-up inputs ({why})"}
    part, worst = OnnxRunner(target, threads=ctx.threads, optimise=False), 0.0
    for item, found in probed.taken:
        every = {**item.feeds, **found}
        wanted = {name: every[name] for name in outputs}
        given = part({item.name: every[item.name] for item in part.inputs})
        worst = max(worst, compare(given, wanted, atol=1e-4, rtol=1e-3, what="the part", hint=_HINT))
    return {"max_difference": worst}


def _known(what: str, names: Iterable[str], values: list[str]) -> None:
    for name in names:
        if name not in values:
            near = difflib.get_close_matches(name, values, 1, 0.6)
            hint = f"did you mean '{near[0]}'?" if near else f"there are e.g. {', '.join(values[:6])}"
            raise UserError(f"'{what}: {name}' is not a value of the graph", hint=hint)
    repeated = [name for name in names if list(names).count(name) > 1]
    if repeated:
        raise UserError(f"'{what}: {repeated[0]}' occurs twice")


def _needed(outputs: Iterable[str], stops: set[str], made_by: dict[str, onnx.NodeProto]) -> set[str]:
    """Every value that the outputs need, back to ``stops``; an output that is a stop itself needs what makes it."""
    needed: set[str] = set()
    pending = list(outputs)
    while pending:
        name = pending.pop()
        if name in needed:
            continue
        needed.add(name)
        if name in made_by and name not in stops:
            pending.extend(files.reads(made_by[name]))
    return needed


def _check_boundary(inputs: Iterable[str], needed: set[str], own: list[str]) -> None:
    for name in inputs:
        if name not in needed:
            raise UserError(f"'inputs: {name}' is needed by no output", hint="leave it out")
    for name in own:
        if name in needed and name not in inputs:
            raise UserError(
                f"the outputs also need the graph's input '{name}'", hint=f"add '{name}' to 'inputs:', or cut later"
            )


def _typed(proto: onnx.ModelProto, source: Path) -> onnx.ModelProto:
    """With the types of values inferred where that is possible."""
    if files.is_large(source):
        return proto  # inference works on one message, of at most 2 GB
    return onnx.shape_inference.infer_shapes(proto)


def _check_types(names: Iterable[str], model: onnx.ModelProto) -> None:
    graph = model.graph
    known = {value.name for value in (*graph.input, *graph.output, *graph.value_info)}
    for name in names:
        if name not in known:
            raise UserError(
                f"the type of value '{name}' is not known", hint="put optimize.onnx before this step: it infers types"
            )
