"""Batches of a dataset for a model, and the values of its tensors on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from cbuild_kit import arrays, batches, fit, fixed_batch, variety

from compressbuild.api import Context, UserError

from ..model import files
from ..model.runner import declared_inputs, session

__all__ = ["Feeds", "feeds", "observed"]


class Feeds:
    """Batches of calibration inputs, each with the number of samples of all. ``variety``: of all samples, see
    :func:`cbuild_kit.variety`."""

    def __init__(self, columns: Mapping[str, np.ndarray], labels: np.ndarray, size: int) -> None:
        self._columns, self._labels, self._size = columns, labels, size
        self.variety = variety(columns, labels)

    def __iter__(self) -> Iterator[tuple[dict[str, np.ndarray], int]]:
        return ((chosen, len(self._labels)) for chosen, _ in batches(self._columns, self._labels, self._size))


def feeds(ctx: Context, model: Path, data: str, *, samples: int, batch_size: int) -> Feeds:
    """Calibration inputs for a model; full batches if it fixes their size."""
    inputs = declared_inputs(session(model, threads=ctx.threads, optimise=False))
    columns, labels = arrays(ctx.dataset(data), [item.name for item in inputs], limit=samples)
    columns = fit(columns, inputs)
    fixed = fixed_batch(inputs)
    total = len(labels) - len(labels) % fixed if fixed else len(labels)
    if total == 0:
        raise UserError(f"the model takes batches of {fixed}, the calibration data has {len(labels)} samples")
    return Feeds({name: column[:total] for name, column in columns.items()}, labels[:total], fixed or batch_size)


def observed(
    ctx: Context, model: Path, names: Iterable[str], given: Iterable[tuple[dict[str, np.ndarray], int]], stage: str
) -> Iterator[dict[str, np.ndarray]]:
    """For every batch of ``given`` the values of the tensors ``names`` of the graph. Float ones only."""
    wanted = list(dict.fromkeys(names))
    proto = files.read(model, weights=False)
    present = {value.name for value in (*proto.graph.output, *proto.graph.input)}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in present)
    place = ctx.scratch / "observed"
    place.mkdir(exist_ok=True)
    made = session(files.write(proto, place, weights_from=model.parent), threads=ctx.threads, optimise=False)
    inputs = {value.name for value in proto.graph.input}
    asked = [name for name in wanted if name not in inputs]
    done = 0
    for batch, total in given:
        found = dict(zip(asked, made.run(asked, batch) if asked else [], strict=True))  # asked for none it gives all
        yield {name: batch[name] if name in inputs else found[name] for name in wanted}
        done += len(next(iter(batch.values())))
        ctx.progress(done, total, stage=stage)
