"""The digits for Qualcomm's HTP, in the environment of the plugin: compiled, and compared in Qualcomm's emulator.

Nothing is downloaded: ``$CBUILD_TEST_CACHE`` names a cache in which ``cbuild env make qnn`` made the environment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from command import Work

ROOT = Path(__file__).parents[3]
CACHE = "CBUILD_TEST_CACHE"
pytestmark = pytest.mark.slow

COMPRESSFILE = """version: 1
models:
  net:
    factory: examples.digits.model:build
    args: {width: 16}
    inputs: {image: {shape: [batch, 1, 8, 8], dtype: float32}}
datasets:
  train: {loader: examples.digits.data:train}
  calibration: {loader: examples.digits.data:calibration}
platforms:
  floats: {backend: qnn, htp-arch: v75, soc-model: 57, fp16: true}
  ints: {backend: qnn, htp-arch: v75}
evaluate: {metrics: [size]}
targets:
  digits: {from: net, steps: [train: {data: train, epochs: 2, lr: 0.003}], evaluate: false}
  fp16: {from: digits, steps: [export.onnx], platform: floats}
  int8: {from: digits, steps: [export.onnx, quantize.static: {data: calibration}], platform: ints}
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    cache = os.environ.get(CACHE)
    if cache is None or not (Path(cache) / "env").is_dir():
        pytest.skip(f"the environment is not made: ${CACHE} names no cache in which 'cbuild env make qnn' made it")
    work = Work(tmp_path_factory.mktemp("qnn") / "project")
    shutil.copytree(ROOT / "examples", work.root / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    work.write("Compressfile", COMPRESSFILE)
    (work.root / "cache").mkdir()
    (work.root / "cache/env").symlink_to(Path(cache) / "env")
    if json.loads(work("env", "list", "--json").out)["qnn"]["state"] != "made":
        pytest.skip(f"${CACHE} has no environment qnn, as its lock is now")
    work("all", timeout=900)
    return work


def facts(work: Work, target: str) -> dict[str, object]:
    """Of the node that compiled."""
    shown = json.loads(work("show", target, "--json").out)
    found: list[dict[str, object]] = []

    def visit(value: object) -> None:
        if isinstance(value, dict):
            if "context_bytes" in value:
                found.append(value)
            for each in value.values():
                visit(each)
        elif isinstance(value, list):
            for each in value:
                visit(each)

    visit(shown)
    return found[0]


@pytest.mark.parametrize(("target", "cosine"), [("fp16", 0.9999), ("int8", 0.99)])
def test_contexts_compute_what_their_source_does(work: Work, target: str, cosine: float) -> None:
    said = facts(work, target)
    assert cosine <= float(str(said["cosine"])) < 1  # it rounds, so it is not the same
    assert "not checked" not in str(said["parity"])
    assert said["contexts"] == 1


DAMAGE = """
import sys
from pathlib import Path

import numpy
import onnx
from onnx import numpy_helper

from compressbuild.api.testing import make_context
from cbuild_onnx.model import parity
from cbuild_qnn.runner import EmulatedRunner
from cbuild_qnn.settings import QnnSettings

published, place = Path(sys.argv[1]), Path(sys.argv[2])
settings = QnnSettings(htp_arch="v75", soc_model=57, fp16=True)
image = numpy.random.default_rng(0).random((1, 1, 8, 8), numpy.float32)
print(EmulatedRunner(published, settings)({"image": image})["output"].argmax())
source = onnx.load(sys.argv[3])
for each in (*source.graph.input, *source.graph.output):
    each.type.tensor_type.shape.dim[0].dim_value = 1
weight = max(source.graph.initializer, key=lambda each: len(each.raw_data))
weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.2, weight.name))
onnx.save(source, place / "wrong.onnx")
parity.check(make_context(place / "ctx"), settings.parity, place / "wrong.onnx",
             lambda: EmulatedRunner(published, settings), name="the emulator", coarsest="fp16")
"""


def test_contexts_of_other_weights_are_noticed(work: Work, tmp_path: Path) -> None:
    """Of weights that are a fifth larger."""
    work.edit(
        "Compressfile", "  fp16: {from", "  onnx: {from: digits, steps: [export.onnx], evaluate: false}\n  fp16: {from"
    )
    work("onnx", timeout=600)
    python = Path(json.loads(work("env", "list", "--json").out)["qnn"]["directory"]) / "bin/python"
    words = [python, "-c", DAMAGE, work.root / "build/fp16", tmp_path, work.root / "build/onnx/model.onnx"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    ran = subprocess.run(words, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert ran.stdout.split()[-1].isdigit(), ran.stderr
    assert "is not what its source computes" in ran.stderr
