"""A quantized model, compared with its float source on samples if there are any, else on generated inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.coverage import coverage, merged
from cbuild_kit.fidelity import check_fidelity
from cbuild_kit.probes import probe
from onnx import ModelProto

from compressbuild.api import Context, UserError

from ..model import files
from ..model.exact import reference
from ..model.joins import joined
from ..model.lookups import table_rows
from ..model.parity import random_node
from ..model.runner import OnnxRunner, declared_inputs, session
from ..model.suppression import Without, kept_only
from ..model.trained import float_bytes
from .calibration import feeds

__all__ = ["compared"]

_SAMPLES, _BATCH, _PROBES = 64, 16, 6
_SIZES = (4,)  # of the first axis of made-up inputs


def compared(ctx: Context, source: Path, data: str | None, *, what: str, causes: str) -> dict[str, Any]:
    """Facts of :func:`cbuild_kit.coverage.coverage` and :func:`cbuild_kit.fidelity.check_fidelity` for the model in
    ``ctx.out``. ``source``: the float file."""
    proto = files.read(source, weights=False)
    reached = coverage(ctx, float_bytes(proto), float_bytes(files.read(ctx.out / files.NAME, weights=False)))
    return merged(reached, _fidelity(ctx, proto, source, data, what, causes))


def _fidelity(
    ctx: Context, proto: ModelProto, source: Path, data: str | None, what: str, causes: str
) -> dict[str, Any]:
    chance = random_node(proto)
    if chance is not None:
        return {"fidelity": f"not measured: {chance} draws random numbers"}
    kept = kept_only(proto)
    if len(kept) == len(proto.graph.output):
        return {"fidelity": "not measured: every output lists what NonMaxSuppression kept"}
    try:
        session(ctx.out / files.NAME, threads=ctx.threads, optimise=False)
    except UserError as error:  # of an opset that ONNX Runtime's CPU kernels do not have yet, for another runtime
        ctx.log.warning("the quantized model is not compared with its source: %s", error)
        return {"fidelity": f"not measured: {error}"}
    given = _samples(ctx, source, data) if data is not None else _made_up(ctx, source)
    if given is None:
        return {"fidelity": "not measured: the model rejects generated inputs; name a dataset: 'data:'"}
    if data is None:
        causes = f"generated inputs, which may not suit the model ('data: DATASET' checks on real ones); else {causes}"
    found = check_fidelity(
        ctx,
        lambda: Without(OnnxRunner(source, threads=ctx.threads, optimise=False), kept),
        lambda: reference(ctx.out / files.NAME, ctx.scratch / "exact", threads=ctx.threads),
        given,
        what=what,
        causes=causes,
        joined=joined(proto),
    )
    return {**found, **({"not_compared": kept} if kept else {})}


def _samples(ctx: Context, source: Path, data: str) -> Iterator[Mapping[str, np.ndarray]]:
    return (batch for batch, _ in feeds(ctx, source, data, samples=_SAMPLES, batch_size=_BATCH))


def _made_up(ctx: Context, source: Path) -> list[Mapping[str, np.ndarray]] | None:
    inputs = declared_inputs(session(source, threads=ctx.threads, optimise=False))
    first = {axis for item in inputs for axis in item.shape[:1] if isinstance(axis, str)}
    runner = OnnxRunner(source, threads=ctx.threads, optimise=False)
    rows = table_rows(files.read(source, weights=False))
    probed = probe(inputs, runner, axes=dict.fromkeys(first, _SIZES), rows=rows, seed=ctx.seed)
    del runner
    if not probed.taken:
        ctx.log.warning("the float model rejects generated inputs: %s", next(iter(probed.refused.values()), ""))
        return None
    return [item.feeds for item, _ in islice(probed.taken, _PROBES)]
