"""How far each activation of a compressed ONNX model is from its source's, and how much of that its layer adds.

Three runs of each batch: the source in float, the compressed model with its kernels of integers, and the source cut at
every activation that both have and given the compressed model's. The last one says what a layer would have made of what
it got, so the difference from what it did make is its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.api import Context, UserError

from ..model import files
from ..model.noise import Sums, rescaled, rows, summed
from ..model.runner import by_onnxruntime, declared_inputs, session
from .errors import FILE
from .graphs import MADE, activations, cut, exposing, layers, readings
from .params import LayerErrors

__all__ = ["measure"]

_ROOM = 1 << 28  # bytes of the activations of one run
_LARGEST = 64  # samples of one run
Values = dict[str, np.ndarray]


def measure(ctx: Context, subject: Path, params: LayerErrors) -> dict[str, Any]:
    """Write ``layers.json``; returns how many activations were compared, on how many samples. UserError where the two
    models have none in common."""
    both = _Both(ctx, files.find(ctx.artifact("origin")), files.find(subject))
    sums, total = summed(ctx, both, params.data, params.samples)
    described = layers(both.source, both.shared)
    found = {
        "layers": rows(sums, {name: (described[name].node, described[name].op) for name in sums}),
        "samples": total,
    }
    (ctx.out / FILE).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return {"compared": len(sums), "samples": total, "left_out": both.left_out}


class _Both:
    """A float model and what was made of it, with the activations ``shared``. ``left_out``: of those that have the same
    name how many are something else, as SmoothQuant's are, which it divides."""

    def __init__(self, ctx: Context, source: Path, compressed: Path) -> None:
        self._ctx, self._places = ctx, (source, compressed)
        self.source, self._compressed = (files.read(path, weights=False) for path in self._places)
        self.inputs = declared_inputs(session(source, threads=ctx.threads, optimise=False))
        taken = {item.name for item in declared_inputs(session(compressed, threads=ctx.threads, optimise=False))}
        if taken != {item.name for item in self.inputs}:
            raise UserError(
                f"the model takes the inputs {', '.join(sorted(taken))}, what it was made from "
                f"{', '.join(item.name for item in self.inputs)}: they cannot be run on the same samples"
            )
        self._readings = readings(self._compressed, activations(self.source))
        self.shared: list[str] = []
        self.left_out = 0

    def ready(self, first: Mapping[str, np.ndarray]) -> int:
        """Choose the activations by a first run; returns how many samples a run may have."""
        self._open([*self._readings])
        wanted, got = self._pair(first)
        fit_for = [name for name in self._readings if _floats(wanted.get(name)) and _floats(got.get(name))]
        same = [name for name in fit_for if wanted[name].shape == got[name].shape]
        described = layers(self.source, same)
        self._axes = {name: 1 if described[name].convolves and wanted[name].ndim > 2 else -1 for name in same}
        convolves = any(layer.convolves for layer in described.values())
        self._axes |= {name: 1 for name in same if convolves and wanted[name].ndim > 3}
        self.shared = [name for name in same if not rescaled(got[name], wanted[name], self._axes[name])]
        if not any(described[name].node for name in self.shared):
            raise UserError(
                "the compressed model has no activation by a name that its source has",
                hint="a step between the export and the end renames them; leave 'layer-error' out for this target",
            )
        self.left_out = len(self._readings) - len(self.shared)
        self._open(self.shared)
        self._cut_at(self.shared, wanted)
        samples = max(1, len(next(iter(first.values()))))
        one = sum(wanted[name].nbytes for name in self.shared) / samples
        return int(np.clip(_ROOM // max(one, 1), 1, _LARGEST))

    def add(self, batch: Mapping[str, np.ndarray], sums: dict[str, Sums]) -> None:
        """Run a batch, and add what is found to the sums of each activation."""
        wanted, got = self._pair(batch)
        made = self._alone(batch, got)
        for name in self.shared:
            kept = sums.setdefault(name, Sums(self._axes[name]))
            read = self._readings[name]
            rounded = read.rounded(made[name], self._stored[name]) if read.scale is not None else None
            kept.add(wanted.pop(name), got.pop(name), made.pop(name), rounded)

    def _open(self, names: list[str]) -> None:
        """Sessions that give out these activations."""
        source, compressed = self._places
        outputs = [self._readings[name].output for name in names]
        threads = self._ctx.threads
        given = {item.name for item in self.inputs}
        self._asked = [name for name in names if name not in given]
        self._outputs = [name for name in dict.fromkeys(outputs) if name not in given]
        self._float = session(
            self._written(exposing(self.source, self._asked), "float", source), threads=threads, optimise=False
        )
        self._integer = session(
            self._written(exposing(self._compressed, self._outputs), "compressed", compressed), threads=threads
        )

    def _written(self, model: Any, name: str, source: Path) -> Path:
        place = self._ctx.scratch / name
        place.mkdir(exist_ok=True)
        return files.write(model, place, weights_from=source.parent)

    def _cut_at(self, names: list[str], values: Mapping[str, np.ndarray]) -> None:
        self._dtypes = {name: values[name].dtype for name in names}
        model = cut(self.source, self._dtypes)
        self._cut = session(self._written(model, "cut", self._places[0]), threads=self._ctx.threads, optimise=False)

    def _pair(self, batch: Mapping[str, np.ndarray]) -> tuple[Values, Values]:
        """The activations of both models, the compressed one's dequantized."""
        with by_onnxruntime("run the model"):
            wanted = dict(zip(self._asked, self._float.run(self._asked, batch) if self._asked else [], strict=True))
            values = self._integer.run(self._outputs, batch) if self._outputs else []
        wanted |= batch
        held = dict(zip(self._outputs, values, strict=True)) | dict(batch)
        self._stored = {}
        got = {}
        for name, read in self._readings.items():
            if read.output in held and isinstance(held[read.output], np.ndarray):
                self._stored[name] = held[read.output].dtype
                got[name] = read.value(held[read.output])
        return wanted, got

    def _alone(self, batch: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray]) -> Values:
        """What each layer of the source makes of the compressed model's activations."""
        fed = {**batch, **{name: got[name].astype(dtype) for name, dtype in self._dtypes.items()}}
        apart = [name for name in self._dtypes if name not in batch]
        with by_onnxruntime("run the layers one by one"):
            values = self._cut.run([f"{name}{MADE}" for name in apart], fed) if apart else []
        return dict(zip(apart, values, strict=True)) | {n: batch[n] for n in self._dtypes if n in batch}


def _floats(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 0
