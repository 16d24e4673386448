"""The CIFAR-10 benchmark: its data is put in place from elsewhere, and its Compressfile resolves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pages import ROOT

from compressbuild.compressfile.load import loads
from compressbuild.graph import build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover

PLACE = ROOT / "benchmarks" / "cifar"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(PLACE, tmp_path / "cifar", ignore=shutil.ignore_patterns("data", "build", "cache", ".cbuild"))
    return tmp_path / "cifar"


def prepare(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(project / "prepare.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={})


def test_the_data_is_linked_or_copied(project: Path, tmp_path: Path) -> None:
    source = tmp_path / "somewhere" / "cifar10"
    source.mkdir(parents=True)
    for name in ("train.npz", "test.npz"):
        np.savez(source / name, images=np.full((4, 3, 32, 32), 255, np.uint8), labels=np.arange(4))
    assert "has no resnet20.safetensors" in prepare(project, "--data", str(tmp_path / "somewhere")).stderr
    (source / "resnet20.safetensors").write_bytes(b"weights")
    for words, linked in (((), True), (("--copy",), False)):
        done = prepare(project, "--data", str(tmp_path / "somewhere"), *words)
        assert done.returncode == 0, done.stderr
        assert all((project / "data" / path.name).is_symlink() is linked for path in source.iterdir())
    code = "import data; images, labels = next(data.train(2)); print(images.shape, images[0, 0, 0, 0], labels)"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["(2,", "3,", "32,", "32)", "2.2489083", "[0", "1]"]
    assert "say where the data is" in prepare(project).stderr


def test_its_compressfile_resolves() -> None:
    spec = loads((PLACE / "Compressfile").read_text(), PLACE / "Compressfile")
    graph = build_graph(spec, discover(cache=None), Facts.fixed({}))
    names = {node.name for node in graph.nodes}
    assert {
        "prune.channels",
        "distill",
        "quantize.static",
        "quantize.qat",
        "factorize.lowrank",
        "prune.gradual",
    } <= names
    ungated = {name for name, target in spec.targets.items() if not target.gates}
    assert ungated == {"resnet20", "fp32", "too-sparse", "one-class-lost"}
