"""What NNCF made, as it was written, compared with the float artifact: an ONNX file is run by ONNX Runtime, so that
what OpenVINO misreads of it shows too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.fidelity import Answer, check_fidelity
from cbuild_kit.probes import probe
from cbuild_onnx.model import files
from cbuild_onnx.model.parity import random_node
from cbuild_onnx.model.runner import OnnxRunner

from compressbuild.api import Context, UserError

from ..artifact import Interface, read
from ..lookups import table_rows
from ..runtime import openvino
from .subject import model_inputs

__all__ = ["compared", "compiled"]

_PROBES = 6
Batches = Iterable[Mapping[str, np.ndarray]]


def compared(ctx: Context, artifact: Path, given: Batches | None, *, what: str, causes: str) -> dict[str, Any]:
    """Facts of :func:`cbuild_kit.fidelity.check_fidelity` for the IR in ``ctx.out``. ``given``: samples; without any,
    made-up inputs."""
    model = read(ctx.out)
    is_ir = ctx.kind("subject") == "openvino-ir"
    chance = None if is_ir else random_node(files.read(files.find(artifact), weights=False))
    if chance is not None:
        return {"fidelity": f"not measured: {chance} gives random numbers"}

    def source() -> Answer:
        return _answer(read(artifact)) if is_ir else _by_onnxruntime(ctx, artifact)

    if given is None:
        try:
            probed = probe(model_inputs(model), source(), rows=table_rows(model), seed=ctx.seed)
        except UserError as error:  # operators that ONNX Runtime lacks
            return {"fidelity": f"not measured: {error}"}
        if not probed.taken:
            return {"fidelity": "not measured: the model takes no made-up inputs; name a dataset: 'data:'"}
        given = [item.feeds for item, _ in probed.taken[:_PROBES]]
        causes = f"the inputs are made up, real ones are named by 'data: DATASET'; then: {causes}"
    joined = _joined(model)
    return check_fidelity(ctx, source, lambda: _answer(model), given, what=what, causes=causes, joined=joined)


def _by_onnxruntime(ctx: Context, artifact: Path) -> Answer:
    return OnnxRunner(files.find(artifact), threads=ctx.threads, optimise=False)


def _answer(model: Any) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Runs a model, compiled for the CPU."""
    ready, names = compiled(model), Interface.of(model).outputs
    return lambda batch: dict(zip(names, (np.array(value) for value in ready(batch).values()), strict=True))


def compiled(model: Any) -> Any:
    """For the CPU, in float32."""
    return openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def _joined(model: Any) -> dict[str, int]:
    """Output → the axis along which a Concat makes it."""
    found = {}
    for name, port in zip(Interface.of(model).outputs, model.outputs, strict=True):
        node = port.get_node().input_value(0).get_node()
        if node.get_type_name() == "Concat":
            found[name] = int(node.get_attributes()["axis"])
    return found
