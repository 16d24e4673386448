"""The MiniLM benchmark: its data is put in place, its score is Spearman's, its Compressfile resolves."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pages import ROOT
from safetensors.numpy import load_file, save_file

from compressbuild.compressfile.load import loads
from compressbuild.graph import build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover

PLACE = ROOT / "benchmarks" / "minilm"
SETS = ("deft-forum", "deft-news", "tweet-news", "headlines", "images", "OnWN")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(PLACE, tmp_path / "minilm", ignore=shutil.ignore_patterns("data", "build", "cache", ".cbuild"))
    return tmp_path / "minilm"


def prepare(project: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(project / "prepare.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={})


def test_the_data_is_linked_and_the_model_renamed(project: Path, tmp_path: Path) -> None:
    assert "say where the data is" in prepare(project).stderr
    data, model = tmp_path / "all" / "sts", tmp_path / "model"
    for place in (data, model):
        place.mkdir(parents=True)
    for name in SETS:
        (data / f"2014.{name}.tsv").write_text("4.5\tone\tother\n")
    (model / "tokenizer.json").write_text("{}")
    assert "has no model.safetensors" in prepare(project, "--data", data.parent, "--model", model).stderr
    state = {
        name: np.zeros(2, np.float32) for name in ("embeddings.position_ids", "pooler.dense.bias", "encoder.x.weight")
    }
    save_file(state, model / "model.safetensors")
    for words, linked in (((), True), (("--copy",), False)):
        done = prepare(project, "--data", data.parent, "--model", model, *words)
        assert done.returncode == 0, done.stderr
        assert all((project / "data" / path.name).is_symlink() is linked for path in data.iterdir())
    assert list(load_file(project / "data" / "minilm.safetensors")) == ["bert.encoder.x.weight"]


def test_the_score_is_that_of_the_pairs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever order the sentences come in; a pair that lost one is an error."""
    for library in ("tokenizers", "scipy"):
        pytest.importorskip(library, reason=f"the benchmark needs {library}")
    monkeypatch.syspath_prepend(str(project))
    for name in ("data", "sts"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    sts = importlib.import_module("sts")
    for name in ("data", "sts"):
        monkeypatch.delitem(sys.modules, name)  # other tests have modules of these names
    angles = np.array([0.1, 0.5, 0.9, 1.3, 0.2, 0.4])
    scores, where = np.array([5, 4, 2, 1, 3, 3.5]), np.array([0, 0, 3, 3, 1, 1])
    rows = [((1.0, 0.0), n) for n in range(6)] + [((np.cos(a), np.sin(a)), n) for n, a in enumerate(angles)]
    order = np.random.default_rng(0).permutation(12)
    embeddings = np.array([rows[i][0] for i in order], np.float32)
    labels = np.array([(rows[i][1], where[rows[i][1]], scores[rows[i][1]]) for i in order], np.float32)
    found = sts.spearman({"output": embeddings}, labels)
    assert found["pairs"] == 6
    assert found["value"] == pytest.approx(27 / 35)  # 1 - 6·Σd² / n(n² - 1), Σd² = 8
    slices = {name: row["value"] for name, row in found["per_class"].items()}
    assert slices == pytest.approx({"deft-forum": 1, "deft-news": -1, "headlines": 1, "unseen": 0.2})
    with pytest.raises(ValueError, match="both of its sentences"):
        sts.spearman({"output": embeddings[:-1]}, labels[:-1])


def test_its_compressfile_resolves() -> None:
    spec = loads((PLACE / "Compressfile").read_text(), PLACE / "Compressfile")
    graph = build_graph(spec, discover(cache=None), Facts.fixed({}))
    names = {node.name for node in graph.nodes}
    wanted = {"prune.heads", "prune.layers", "distill", "quantize.dynamic", "quantize.static", "quantize.weights"}
    assert wanted <= names
    assert all("user" in [gate.metric for gate in target.gates] for target in spec.targets.values())
