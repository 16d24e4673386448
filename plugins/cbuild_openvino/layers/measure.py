"""How far each layer of a compressed OpenVINO model is from its source's, and how much of that is its own.

Three runs of each batch, as ``metrics.layer-errors`` does for ONNX: the source in float, the compressed model, and the
source cut at every layer and given what the compressed model's layers made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_onnx.model import files
from cbuild_onnx.model.noise import Sums, rescaled, rows, summed

from compressbuild.api import Context, UserError

from ..artifact import fed, one_line, read, read_onnx
from ..runtime import openvino
from .graphs import Layer, cut, exposing, layers, positions
from .params import IrLayerErrors

__all__ = ["measure"]

_FILE = "layers.json"
_ROOM = 1 << 28  # bytes of the layers of one run
_LARGEST = 64  # samples of one run
Values = dict[str, np.ndarray]


def measure(ctx: Context, subject: Path, params: IrLayerErrors) -> dict[str, Any]:
    """Write ``layers.json``; returns how many layers were compared, on how many samples, and how many of the source's
    are left out. UserError where the two models have none in common by name."""
    origin = ctx.artifact("origin")
    is_ir = ctx.kind("origin") == "openvino-ir"
    both = _Both(read(origin) if is_ir else read_onnx(files.find(origin), ctx.scratch), read(subject), ctx.threads)
    sums, total = summed(ctx, both, params.data, params.samples)
    made = {name: (layer.node, layer.op) for name, layer in both.shared.items()}
    found = {"layers": rows(sums, made), "samples": total}
    (ctx.out / _FILE).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return {"compared": len(sums), "samples": total, "left_out": both.left_out}


class _Both:
    """A float model and what was made of it, with the layers ``shared``."""

    def __init__(self, source: Any, compressed: Any, threads: int) -> None:
        self._source, self._compressed, self._threads = source, compressed, threads
        self.inputs = fed(source).inputs
        taken, given = {item.name for item in fed(compressed).inputs}, {item.name for item in self.inputs}
        if taken != given:
            raise UserError(
                f"the model takes the inputs {', '.join(sorted(taken))}, what it was made from "
                f"{', '.join(sorted(given))}: they cannot be run on the same samples"
            )
        if source.get_sinks() or compressed.get_sinks():
            raise UserError(
                "the model keeps a state from run to run, so its layers cannot be run one by one",
                hint="leave 'openvino-layer-error' out for this target",
            )
        own, other = layers(source), layers(compressed)
        self._all = len(own)
        self.shared: dict[str, Layer] = {name: layer for name, layer in own.items() if other.get(name) == layer}

    @property
    def left_out(self) -> int:
        return self._all - len(self.shared)

    def ready(self, first: Mapping[str, np.ndarray]) -> int:
        """Choose the layers by a first run; returns how many samples a run may have."""
        if self.shared:
            self._open()
            wanted, got = self._run(self._float, first), self._run(self._integer, first)
            self._axes = {name: self._axis(layer, wanted[name]) for name, layer in self.shared.items()}
            self.shared = {
                name: layer
                for name, layer in self.shared.items()
                if wanted[name].size
                and wanted[name].shape == got[name].shape
                and not rescaled(got[name], wanted[name], self._axes[name])
            }
        if not any(layer.weighs for layer in self.shared.values()):
            raise UserError(
                "the compressed model has no layer by the name that it has in its source, so they cannot be compared",
                hint="the tool that wrote the IR renamed them; leave 'openvino-layer-error' out for this target",
            )
        self._open()
        self._cut = self._loaded(cut(self._source, self.shared))
        samples = max(1, len(next(iter(first.values()))))
        one = sum(wanted[name].nbytes for name in self.shared) / samples
        return int(np.clip(_ROOM // max(one, 1), 1, _LARGEST))

    def add(self, batch: Mapping[str, np.ndarray], sums: dict[str, Sums]) -> None:
        """Run a batch, and add what is found to the sums of each layer. An output is stored as float here, whatever the
        runtime makes of it between two layers, so nothing is lost by rounding it."""
        wanted, got = self._run(self._float, batch), self._run(self._integer, batch)
        made = self._run(self._cut, {**batch, **{self._place(number): got[name] for number, name in self._numbered()}})
        for name in self.shared:
            kept = sums.setdefault(name, Sums(self._axes[name]))
            kept.add(wanted.pop(name), got.pop(name), made.pop(name), None)

    def _axis(self, layer: Layer, value: np.ndarray) -> int:
        convolves = any(each.convolves for each in self.shared.values())
        return 1 if value.ndim > 2 and (layer.convolves or (convolves and value.ndim > 3)) else -1

    def _open(self) -> None:
        """Both models with these layers given out."""
        self._float = self._loaded(exposing(self._source, self.shared))
        self._integer = self._loaded(exposing(self._compressed, self.shared))

    def _loaded(self, model: Any) -> tuple[Any, dict[str, int]]:
        """The model, compiled, and where it gives out each layer."""
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            return openvino.Core().compile_model(model, "CPU", options), positions(model, self.shared)
        except Exception as error:  # OpenVINO raises RuntimeError for what it refuses, and others
            raise UserError(f"OpenVINO cannot run the layers one by one: {one_line(error)[:600]}") from error

    def _run(self, loaded: tuple[Any, dict[str, int]], feeds: Mapping[Any, np.ndarray]) -> Values:
        """The shared layers."""
        model, places = loaded
        try:
            results = model({key: np.asarray(value, order="C") for key, value in feeds.items()}, share_outputs=False)
        except RuntimeError as error:
            raise UserError(f"OpenVINO cannot run the model: {one_line(error)[:600]}") from error
        values = list(results.values())
        return {name: values[place].astype(np.float32) for name, place in places.items()}

    def _numbered(self) -> list[tuple[int, str]]:
        return list(enumerate(self.shared))

    def _place(self, number: int) -> int:
        """The position of the input that stands for a layer: behind the model's own."""
        return len(self._source.inputs) + number
