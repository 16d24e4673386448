"""cbuild profile, in a project of one ONNX file."""

from __future__ import annotations

import json
from ctypes.util import find_library
from pathlib import Path

import onnx_models as models
import pytest
from command import Inline

TEXT = """\
version: 1
models: {net: {file: net/model.onnx}}
platforms:
  cpu: {backend: onnxruntime}
  flat: {backend: %s}
evaluate: {metrics: [size, {latency: {batch: 4}}]}
targets:
  fast: {from: net, platform: cpu, gates: {size: {max: 1}}}
  plain: {from: net}
"""

RTX = """\
version: 1
models: {net: {file: net/model.onnx}}
platforms: {ada: {backend: tensorrt-rtx, compute-capability: sm89}}
targets: {engine: {from: net, platform: ada}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Inline:
    work = Inline(tmp_path_factory.mktemp("profile") / "project")
    models.save(models.cnn(blocks=1), work.root / "net")
    work.write("Compressfile", TEXT % "openvino")
    return work


def test_text(project: Inline) -> None:
    ran = project("profile", "fast", "--repeats", "5")
    first, second, *_ = ran.out.splitlines()
    assert first.startswith("fast: ")
    assert first.endswith(" a run under the profiler, batch 4")  # as its latency is measured
    assert "provider CPUExecutionProvider" in second
    assert "Conv" in ran.out
    assert not (project.root / "build").exists()  # nothing is published, and its gate is not asked
    again = project("profile", "fast", "--repeats", "5")
    assert "built     fast/profile" in again.err  # measured anew, on what is built
    assert "fast/onnxruntime" not in again.err
    assert "fast/latency" not in ran.err + again.err


def test_json_of_the_reference_runtime(project: Inline) -> None:
    found = json.loads(project("profile", "plain", "--format", "json", "--batch", "2", "--repeats", "3").out)
    assert (found["target"], found["batch"]) == ("plain", 2)
    assert {row["op"] for row in found["operators"]} & {"Conv", "FusedConv"}


def test_html(project: Inline) -> None:
    page = project.root / "p.html"
    ran = project("profile", "fast", "--repeats", "3", "--format", "html", "-o", "p.html")
    assert ran.out == ""
    assert "wrote p.html" in ran.err
    assert "<svg" in page.read_text()
    assert "cannot write nowhere/p.html" in project("profile", "fast", "-o", "nowhere/p.html", code=2).err


def test_an_engine_for_a_gpu_that_is_elsewhere(tmp_path: Path) -> None:
    """Refused in one line, before anything is built."""
    pytest.importorskip("tensorrt_rtx", exc_type=ImportError)
    if find_library("cuda") is not None:
        pytest.skip("this machine has the driver")
    work = Inline(tmp_path / "engine")
    models.save(models.cnn(blocks=1), work.root / "net")
    work.write("Compressfile", RTX)
    lacking = "libcuda.so.1 (not found) and an NVIDIA GPU (none found)"
    assert work("profile", "engine", code=4).err == f"error: 'engine' cannot be profiled here: needs {lacking}\n"


def test_refusals(project: Inline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "did you mean 'fast'?" in project("profile", "fats", code=2).err
    work = Inline(tmp_path / "other", toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", "version: 1\nmodels: {f: {file: f.txt}}\ntargets: {t: {from: f}}\n")
    said = work("profile", "t", code=2).err
    assert "'t' cannot be profiled: the reference runtime of" in said
    assert "has no profiler" in said
    assert "backends that have one: " in said
    assert "executorch, onnxruntime, onnxruntime-ort, openvino, tensorrt" in said
