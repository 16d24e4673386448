"""Small artifacts for the contracts of first-party plugins, and one set of preloaded modules for most of them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import digits
from cbuild_torch.to_onnx.params.export import ExportOnnx

from compressbuild.api.conformance import artifact
from compressbuild.api.work import WorkInput

# One warm parent serves them all.
TORCH = (
    "torch",
    "torch._dynamo",
    "torch.export",
    "torch.onnx",
    "safetensors.torch",
    "torch_pruning",
    "torchao.quantization.pt2e.quantize_pt2e",
    "onnx",
    "onnxscript",
    "sklearn.datasets",
)
TOYS = ("bn_stack", "unread")  # of toy_models
FACTORIES = (*digits.FACTORIES, *(f"toy_models:{name}" for name in TOYS))
DATASETS = dict.fromkeys(("train", "calibration", "test"), "few_digits:load")


@cache
def _place() -> Path:
    """Kept alive by :func:`_home` until the tests end."""
    return Path(_home().name)


@cache
def _home() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="contracts-")


@cache
def torch_model(factory: str = digits.FACTORY) -> Path:
    """Untrained: a small convolutional network, or ``transformer``, ``gru``, ``lstm``."""
    name = factory if ":" in factory else f"sequence_models:{factory}"
    return digits.source(_place() / factory.replace(":", "-"), width=8, factory=name)


@cache
def onnx_model(factory: str = digits.FACTORY) -> Path:
    out = _place() / f"{factory.replace(':', '-')}.onnx"
    return digits.apply("cbuild_torch.to_onnx.export:export", torch_model(factory), ExportOnnx(), out).out


def teacher() -> WorkInput:
    return artifact(torch_model(), "torch-model")
