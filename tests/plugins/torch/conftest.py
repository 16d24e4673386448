from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import digits
import pruning_models
import pytest
import toy_models

from compressbuild.api.testing import run_node

IMAGE = [["image", ["batch", 1, 8, 8], "float32"]]


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., Path]:
    """Make a torch-model of a factory of ``toy_models`` or ``pruning_models``."""

    def make(name: str, inputs: list | None = None, **args: object) -> Path:
        module = "pruning_models" if name in pruning_models.FACTORIES else "toy_models"
        params = {"factory": f"{module}:{name}", "args": args, "weights": None, "inputs": inputs or IMAGE}
        out = tmp_path / f"toy-{name}"
        return run_node("cbuild_torch.model.source:init", None, params, out, factories=(params["factory"],)).out

    return make


@pytest.fixture
def technique(tmp_path: Path) -> Callable[..., object]:
    """Apply a technique; toy factories are allowed too."""
    factories = tuple(f"{m.__name__}:{name}" for m in (toy_models, pruning_models) for name in m.FACTORIES)
    factories += digits.FACTORIES
    count = iter(range(100))

    def apply(run: str, subject: Path, params: object, **world: object):
        out = tmp_path / f"out-{next(count)}"
        own = {"means": "means", "brightest": "brightest", "one-too-many": "one_too_many"}
        datasets = {**digits.DATASETS, **{name: f"toy_models:{made}" for name, made in own.items()}}
        return digits.apply(run, subject, params, out, factories=factories, datasets=datasets, **world)

    return apply
