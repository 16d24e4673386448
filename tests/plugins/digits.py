"""Running techniques on the digits example, and looking at what they made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import arrays

from compressbuild.api import Params, WorkInput
from compressbuild.api.testing import NodeRun, make_context, run_node
from examples.digits import data

ROOT = Path(__file__).parents[2]
FACTORY = "examples.digits.model:build"
SEQUENCES = ("transformer", "gru", "lstm")  # of sequence_models
FACTORIES = (FACTORY, *(f"sequence_models:{name}" for name in SEQUENCES))
DATASETS = {
    "train": "examples.digits.data:train",
    "calibration": "examples.digits.data:calibration",
    "test": "examples.digits.data:test",
}
LOADERS = {"torch-model": "cbuild_torch.model.runner:load", "onnx": "cbuild_onnx.model.runner:load"} | {
    "openvino-ir": "cbuild_openvino.runner:load"
}

CENSUSES = {"torch-model": "cbuild_torch.model.census:census", "onnx": "cbuild_onnx.model.census:census"}


def kind_of(directory: Path) -> str:
    signs = {"model.json": "torch-model", "model.xml": "openvino-ir"}
    return next((kind for name, kind in signs.items() if (directory / name).exists()), "onnx")


def as_input(directory: Path) -> WorkInput:
    kind = kind_of(directory)
    return WorkInput(path=str(directory), kind=kind, load=LOADERS[kind], census=CENSUSES.get(kind))


def apply(run: str, subject: Path, params: Params, out: Path, **world: Any) -> NodeRun:
    """Apply a technique to an artifact made of the digits example."""
    world = {"factories": FACTORIES, "datasets": DATASETS, "root": ROOT, **world}
    return run_node(run, as_input(subject), params, out, **world)


def source(out: Path, width: int = 16, factory: str = FACTORY, **params: Any) -> Path:
    """The untrained network, or another that takes the same images."""
    inputs = [["image", ["batch", 1, 8, 8], "float32"]]
    arguments = {"width": width} if factory == FACTORY else {}
    asked = {"factory": factory, "args": arguments, "weights": None, "inputs": inputs, **params}
    return run_node("cbuild_torch.model.source:init", None, asked, out, factories=(factory,), root=ROOT).out


def held_out() -> tuple[dict[str, np.ndarray], np.ndarray]:
    return arrays(data.test(), ["image"])


def outputs(directory: Path, feeds: dict[str, np.ndarray], factories: tuple[str, ...] = FACTORIES) -> dict[str, Any]:
    """What an artifact gives in its reference runtime."""
    ctx = make_context(directory.with_name(directory.name + ".run"), subject=as_input(directory), factories=factories)
    return ctx.runner("subject")(feeds)


def accuracy(directory: Path) -> float:
    """Share of the test images that an artifact classifies right."""
    feeds, labels = held_out()
    logits = next(iter(outputs(directory, feeds).values()))
    return float((logits.argmax(1) == labels).mean())
