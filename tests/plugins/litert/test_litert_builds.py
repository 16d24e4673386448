"""The digits on LiteRT, in the environments of the plugin, beside ONNX Runtime in the engine's own.

Nothing is downloaded: ``$CBUILD_TEST_CACHE`` names a cache in which ``cbuild env make`` made the environments.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from command import CBUILD, Ran, Work

from examples.digits import data

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
  test: {loader: examples.digits.data:test}
platforms:
  cpu: {backend: onnxruntime, threads: 1}
  phone: {backend: litert}
  plain: {backend: litert, xnnpack: false}
evaluate:
  data: test
  metrics: [top1, size, cosine, {latency: {batch: 1, seconds: 0.5}}]
  baseline: server
targets:
  digits: {from: net, steps: [train: {data: train, epochs: 5, lr: 0.003}], evaluate: false}
  server: {from: digits, steps: [export.onnx], platform: cpu}
  app:
    from: digits
    steps: [export.tflite]
    platform: phone
    gates: {top1: {max-drop: 0.001, against: server}, cosine: {min: 0.9999}}
  app-plain: {from: digits, steps: [export.tflite], platform: plain}
  app-fp16:
    from: app
    steps: [quantize.tflite: {precision: fp16}]
    platform: phone
    gates: {size: {max-ratio: 0.6, against: app}}
  app-dynamic:
    from: app
    steps: [quantize.tflite: {precision: int8-dynamic}]
    platform: phone
    gates: {top1: {max-drop: 0.02, against: app}, size: {max-ratio: 0.6, against: app}}
  app-int8:
    from: app
    steps: [quantize.tflite: {precision: int8, data: calibration}]
    platform: phone
    gates: {top1: {max-drop: 0.02, against: app}, size: {max-ratio: 0.6, against: app}}
  board:
    from: app
    steps: [quantize.tflite: {precision: int8, io: int8, data: calibration}]
    platform: ethos-u55
"""
LITERT = ("app", "app-plain", "app-fp16", "app-dynamic", "app-int8")
ALONE = """
import sys

import numpy
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
run = interpreter.get_signature_runner()
images = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], numpy.concatenate([run(image=images[at : at + 1])["output"] for at in range(len(images))]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Work, Ran]:
    cache = os.environ.get(CACHE)
    if cache is None or not (Path(cache) / "env").is_dir():
        pytest.skip(f"the environments are not made: ${CACHE} names no cache in which 'cbuild env make' made them")
    work = Work(tmp_path_factory.mktemp("litert") / "project")
    shutil.copytree(ROOT / "examples", work.root / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    work.write("Compressfile", COMPRESSFILE)
    (work.root / "cache").mkdir()
    (work.root / "cache/env").symlink_to(Path(cache) / "env")
    listed = json.loads(work("env", "list", "--json").out)
    missing = [name for name in ("litert", "vela") if listed[name]["state"] != "made"]
    if missing:
        pytest.skip(f"${CACHE} has no environment {' and no '.join(missing)}, as its lock is now")
    return work, work("all", "--json", timeout=1500)


def metrics(work: Work, target: str) -> dict[str, float]:
    found = json.loads((work.root / f"build/{target}/metrics.json").read_text())["metrics"]
    return {name: row["value"] for name, row in found.items()}


def test_all_is_built_in_one_run_and_meets_its_gates(built: tuple[Work, Ran]) -> None:
    work, ran = built
    assert ran.failures == []
    for target in (*LITERT, "server", "board"):
        assert (work.root / f"build/{target}/metrics.json").is_file(), target
    found = {target: metrics(work, target) for target in (*LITERT, "server")}
    assert found["server"]["top1"] > 0.9
    for target in LITERT:
        assert found[target]["top1"] == pytest.approx(found["server"]["top1"], abs=0.02), target
        assert found[target]["latency"] > 0, target
    assert found["app"]["cosine"] > 0.9999


@pytest.mark.parametrize("target", ["app", "app-fp16", "app-dynamic", "app-int8"])
def test_an_app_gets_the_accuracy_that_was_measured(built: tuple[Work, Ran], target: str, tmp_path: Path) -> None:
    """The published file alone, with its runtime alone."""
    work, _ = built
    parts = list(data.test())
    np.save(tmp_path / "images.npy", np.concatenate([images for images, _ in parts]))
    python = Path(json.loads(work("env", "list", "--json").out)["litert"]["directory"]) / "bin" / "python"
    words = [work.root / f"build/{target}/model.tflite", tmp_path / "images.npy", tmp_path / "logits.npy"]
    subprocess.run([python, "-I", "-c", ALONE, *words], check=True, capture_output=True)
    right = np.load(tmp_path / "logits.npy").argmax(1) == np.concatenate([labels for _, labels in parts])
    assert metrics(work, target)["top1"] == pytest.approx(right.mean(), abs=1e-9)


def test_the_estimate_of_an_ethos_u_is_no_measurement(built: tuple[Work, Ran]) -> None:
    work, _ = built
    shown = work("show", "board").out
    assert "estimate" in shown
    found = json.loads((work.root / "build/board/metrics.json").read_text())
    assert "latency" not in found["metrics"]
    assert "size" in found["metrics"]


def test_a_second_build_without_a_network_runs_nothing(built: tuple[Work, Ran]) -> None:
    work, _ = built
    words = ["unshare", "-rn", CBUILD, "all", "-v"]
    again = subprocess.run(words, cwd=work.root, env=work.environment(), capture_output=True, text=True, check=False)
    if "unshare" in again.stderr:
        pytest.skip(f"no network namespace: {again.stderr}")
    assert again.returncode == 0, again.stderr
    assert "(0 run," in again.stdout or "nothing to do" in again.stdout


def test_the_same_bytes_come_out_again(built: tuple[Work, Ran]) -> None:
    work, _ = built
    work("--check", *LITERT, "board", timeout=1500)


def test_without_the_environments_only_their_steps_are_missed(built: tuple[Work, Ran], tmp_path: Path) -> None:
    work, _ = built
    away = {"UV_OFFLINE": "1", "UV_NO_INDEX": "1", "UV_FIND_LINKS": "", "UV_CACHE_DIR": str(tmp_path / "empty")}
    copy = work.copy(tmp_path / "copy")
    (copy.root / "cache/env").unlink()  # the link
    assert "(0 run," in (plain := copy("all", **away).out) or "nothing to do" in plain
    copy.edit("Compressfile", "precision: int8, data", "precision: int8, samples: 50, data")
    lost = copy("app-int8", code=4, **away)
    assert "environment 'litert' (the lock " in lost.err
    assert "'cbuild env make litert' makes it" in lost.err
    assert "Traceback" not in lost.text
