"""What NNCF made, as it was written, run beside the float artifact, and how much of the weights it reached.

An ONNX file is run by ONNX Runtime, so that what OpenVINO misreads of it shows too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.coverage import coverage, merged
from cbuild_kit.fidelity import Answer, check_fidelity
from cbuild_kit.probes import probe
from cbuild_onnx.model import files
from cbuild_onnx.model.parity import random_node
from cbuild_onnx.model.runner import OnnxRunner
from cbuild_onnx.model.suppression import kept_only

from compressbuild.api import Context, UserError

from ..artifact import fed, interface, read
from ..lookups import table_rows
from ..runtime import openvino

__all__ = ["compared", "compiled", "made_up", "stored"]

_BITS = {"i8": 8, "u8": 8, "i4": 4, "u4": 4}
_FLOATS = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2}
_SIZES, _PROBES = (4,), 6  # of the first axis of made-up inputs, and how many of them


def compared(
    ctx: Context,
    artifact: Path,
    source: Any,
    samples: Iterable[Mapping[str, np.ndarray]] | None,
    *,
    what: str,
    causes: str,
) -> dict[str, Any]:
    """Facts of :func:`cbuild_kit.coverage.coverage` and :func:`cbuild_kit.fidelity.check_fidelity` for the IR in
    ``ctx.out``. ``source``: the model of ``artifact``; ``samples``: None if it takes no inputs that were made up."""
    made = read(ctx.out)
    reached = coverage(ctx, _floats(source), _floats(made))
    if samples is None:
        return {**reached, "fidelity": "not measured: the model takes no made-up inputs; name a dataset: 'data:'"}
    onnx = None if ctx.kind("subject") == "openvino-ir" else files.find(artifact)
    chance = None if onnx is None else random_node(files.read(onnx, weights=False))
    if chance is not None:
        return {**reached, "fidelity": f"not measured: {chance} gives random numbers"}
    kept = [] if onnx is None else kept_only(files.read(onnx, weights=False))
    if kept and len(kept) == len(source.outputs):
        return {**reached, "fidelity": "not measured: every output lists what NonMaxSuppression kept"}
    found = check_fidelity(
        ctx,
        lambda: _answer(source) if onnx is None else _without(kept, _by_onnxruntime(ctx, onnx, source)),
        lambda: _answer(made),
        samples,
        what=what,
        causes=causes,
        joined=_joined(source),
    )
    return merged(reached, {**found, **({"not_compared": kept} if kept else {})})


def _without(names: list[str], answer: Answer) -> Answer:
    return lambda feeds: {name: value for name, value in answer(feeds).items() if name not in names}


def made_up(ctx: Context, source: Any) -> list[Mapping[str, np.ndarray]] | None:
    """Inputs that a float model takes, of several sizes; None if it takes none."""
    inputs = fed(source).inputs
    first = {axis for item in inputs for axis in item.shape[:1] if isinstance(axis, str)}
    axes = dict.fromkeys(first, _SIZES)
    probed = probe(inputs, _answer(source), axes=axes, rows=table_rows(source), seed=ctx.seed)
    if not probed.taken:
        ctx.log.warning("the float model takes no made-up inputs: %s", next(iter(probed.refused.values()), ""))
        return None
    return [item.feeds for item, _ in probed.taken[:_PROBES]]


def stored(model: Any) -> Counter[int]:
    """How many numbers are stored in 4 and 8 bits, zero points left out."""
    found: Counter[int] = Counter()
    for node in model.get_ops():
        bits = _BITS.get(node.get_element_type().get_type_name()) if node.get_type_name() == "Constant" else None
        if bits and "zero_point" not in node.get_friendly_name():
            found[bits] += math.prod(node.get_output_shape(0))
    return found


def _floats(model: Any) -> dict[str, int]:
    """Name → bytes of each float weight. What follows integers restores them: one of a few scales."""
    integers = {
        node.get_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Convert"
        and node.input_value(0).get_node().get_type_name() == "Constant"
        and node.input_value(0).get_element_type().get_type_name() in _BITS
    }
    found = {}
    for node in model.get_ops():
        kind = node.get_element_type().get_type_name() if node.get_type_name() == "Constant" else ""
        if kind not in _FLOATS or len(node.get_output_shape(0)) < 2 or _restores(node, integers):
            continue
        found[node.get_friendly_name()] = math.prod(node.get_output_shape(0)) * _FLOATS[kind]
    return found


def _restores(constant: Any, integers: set[str]) -> bool:
    """Whether it is the scale of integers: a factor of what was converted from them, perhaps less a zero point."""
    for reader in constant.output(0).get_target_inputs():
        node = reader.get_node()
        if node.get_type_name() not in ("Multiply", "Subtract"):
            return False
        other = node.input_value(1 - reader.get_index()).get_node()
        if other.get_type_name() == "Subtract":
            other = other.input_value(0).get_node()
        if other.get_name() not in integers:
            return False
    return True


def _answer(model: Any) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Runs a model, compiled for the CPU."""
    ready, names = compiled(model), interface(model).outputs
    return lambda batch: dict(zip(names, (np.array(value) for value in ready(dict(batch)).values()), strict=True))


def _by_onnxruntime(ctx: Context, file: Path, source: Any) -> Answer:
    """Or by OpenVINO, where ONNX Runtime cannot open it."""
    try:
        return OnnxRunner(file, threads=ctx.threads, optimise=False)
    except UserError as error:
        ctx.log.warning("ONNX Runtime cannot run the source, so OpenVINO does: %s", error)
        return _answer(source)


def compiled(model: Any) -> Any:
    return openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def _joined(model: Any) -> dict[str, int]:
    """Output → the axis along which a Concat makes it."""
    found = {}
    for name, port in zip(interface(model).outputs, model.outputs, strict=True):
        node = port.get_node().input_value(0).get_node()
        if node.get_type_name() == "Concat":
            found[name] = int(node.get_attributes()["axis"])
    return found
