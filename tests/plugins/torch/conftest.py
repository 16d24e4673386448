from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import digits
import pytest
import toy_models

from compressbuild.api.testing import run_node

IMAGE = [["image", ["batch", 1, 8, 8], "float32"]]


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., Path]:
    """Make a torch-model of a factory of ``toy_models``."""

    def make(name: str, inputs: list | None = None, **args: object) -> Path:
        params = {"factory": f"toy_models:{name}", "args": args, "weights": None, "inputs": inputs or IMAGE}
        out = tmp_path / f"toy-{name}"
        return run_node("cbuild_torch.source:init", None, params, out, factories=(params["factory"],)).out

    return make


@pytest.fixture
def technique(tmp_path: Path) -> Callable[..., object]:
    """Apply a technique; toy factories are allowed too."""
    factories = (*digits.FACTORIES, *(f"toy_models:{name}" for name in toy_models.FACTORIES))
    count = iter(range(100))

    def apply(run: str, subject: Path, params: object, **world: object):
        out = tmp_path / f"out-{next(count)}"
        datasets = {**digits.DATASETS, "means": "toy_models:means", "one-too-many": "toy_models:one_too_many"}
        return digits.apply(run, subject, params, out, factories=factories, datasets=datasets, **world)

    return apply
