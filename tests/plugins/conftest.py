from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import digits as digits_example
import pytest
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.train.params import Train


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_example.source(tmp_path_factory.mktemp("untrained") / "out")


@pytest.fixture(scope="session")
def trained(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits network, width 16, trained for some seconds."""
    params = Train(data="train", epochs=6, lr=3e-3)
    out = tmp_path_factory.mktemp("trained") / "out"
    return digits_example.apply("cbuild_torch.train.finetune:train", untrained, params, out).out


@pytest.fixture(scope="session")
def trained_sequence(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A trained ``transformer``, ``gru`` or ``lstm`` of :mod:`sequence_models`; made once."""

    @cache
    def make(name: str) -> Path:
        place = tmp_path_factory.mktemp(name)
        start = digits_example.source(place / "source", factory=f"sequence_models:{name}")
        params = Train(data="train", epochs=8, lr=1e-2)
        return digits_example.apply("cbuild_torch.train.finetune:train", start, params, place / "out").out

    return make


@pytest.fixture(scope="session")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained network as ONNX."""
    out = tmp_path_factory.mktemp("exported") / "out"
    return digits_example.apply("cbuild_torch.to_onnx.export:export", trained, ExportOnnx(), out).out


@pytest.fixture(scope="session")
def python() -> Callable[..., str]:
    """Run a Python script in a new process, in any directory and with any hash seed; its output."""

    def run(*arguments: str | Path, cwd: Path, hash_seed: int = 0) -> str:
        here = Path(__file__).parent
        path = os.pathsep.join(map(str, (here, here / "torch", here / "onnx", here.parents[1])))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": str(hash_seed), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
