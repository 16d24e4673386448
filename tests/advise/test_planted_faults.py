"""Faults planted in small real projects: the command names each at its line, ``--apply`` removes it, and then that
advice is gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import Warm

DIGITS = Path(__file__).parents[2] / "examples/digits"
TRAINED = """\
version: 1
models: {net: {factory: "model:build", args: {width: 32}, inputs: {image: {shape: [batch, 1, 8, 8]}}}}
datasets: {train: {loader: "data:train"}, calibration: {loader: "data:calibration"}, test: {loader: "data:test"}}
platforms:
  cpu: {backend: onnxruntime, threads: 1}
evaluate: {data: test, metrics: [top1, size], baseline: fp32}
preload: [sklearn.datasets]
targets:
  trained: {from: net, steps: [train: {data: train, epochs: 3, lr: 0.003}], evaluate: {data: test, metrics: [top1]}}
  fp32: {from: trained, steps: [export.onnx], platform: cpu}
"""
LOST = """\
  cut:
    from: trained
    steps:
      - prune.magnitude: {sparsity: 0.9}   # at once
      - export.onnx
    platform: cpu
    gates: {top1: {max-drop: 0.08, against: fp32}}
  thin:
    from: trained
    steps: [prune.channels: {ratio: 0.5}, export.onnx]   # no training
    platform: cpu
    gates: {top1: {max-drop: 0.08, against: fp32}}
"""
SLOW = """\
  zeros:
    from: trained
    steps:
      - prune.magnitude: {sparsity: 0.75}
      - finetune: {data: train, epochs: 2, lr: 0.001}
      - export.onnx
    platform: cpu
    gates: {top1: {max-drop: 0.05, against: fp32}}
  symmetric:
    from: trained
    steps:
      - export.onnx
      - quantize.static: {data: calibration, scheme: s8-symmetric}   # not what the runtime fuses
    platform: cpu
"""
WASTED = """\
  wide:
    from: trained
    steps: [export.onnx, quantize.static: {data: calibration, activations: uint16}]   # wider than the kernels
    platform: cpu
  every-run:
    from: trained
    steps: [export.onnx, quantize.dynamic: {op-types: [MatMul, Gemm, Conv]}]   # ranges chosen in every run
    platform: cpu
  stored:
    from: trained
    steps: [export.onnx, quantize.weights: {bits: 8, op-types: [Conv, Gemm]}]   # arithmetic in floats
    platform: cpu
"""
TIMED = TRAINED.replace("size]", "size, {latency: {batch: 64, sessions: 4, seconds: 1}}]")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    made = Warm(tmp_path_factory.mktemp("planted") / "p")
    for name in ("model.py", "data.py"):
        shutil.copy(DIGITS / name, made.root)
    yield made
    made.close()


def advice(work: Warm, *words: str) -> dict[str, dict[str, Any]]:
    """Target → what is advised on it."""
    found = json.loads(work("advise", *words, "--json").out)["advice"]
    assert len({row["target"] for row in found}) == len(found), found
    return {row["target"]: row for row in found}


def line(text: str, words: str) -> int:
    return text[: text.index(words)].count("\n") + 1


def test_pruned_too_much_at_once_and_then_gradually_or_with_training(trained: Warm) -> None:
    text = TRAINED + LOST
    trained.write("Compressfile", text)
    trained("all", code=3)
    said = advice(trained)
    assert {target: row["check"] for target, row in said.items()} == dict.fromkeys(("cut", "thin"), "too-much-at-once")
    assert said["cut"]["where"].startswith(f"Compressfile:{line(text, 'prune.magnitude')}:")
    assert said["thin"]["where"].startswith(f"Compressfile:{line(text, 'prune.channels')}:")
    assert all(row["applied"] for row in advice(trained, "--apply").values())
    again = (trained.root / "Compressfile").read_text()
    assert "- prune.gradual: {data: train, epochs: 3, lr: 0.003, sparsity: 0.9}   # at once" in again
    assert "[prune.channels: {ratio: 0.5}, finetune: {data: train, epochs: 3, lr: 0.003}, export.onnx]   # no" in again
    trained("all")
    assert trained("advise").out == "nothing to advise on 4 targets\n"


def test_smaller_and_not_faster_and_int8_in_another_scheme(trained: Warm) -> None:
    text = TIMED + SLOW
    trained.write("Compressfile", text)
    trained("all")
    said = advice(trained)
    for _ in range(3):  # on a busy machine the same arithmetic may seem a little faster
        if "zeros" not in said:
            trained("all", "--remeasure")
            said = advice(trained)
    assert {target: row["check"] for target, row in said.items()} == {
        "zeros": "zeros-not-faster",
        "symmetric": "int8-not-faster",
    }
    assert said["zeros"]["where"].startswith(f"Compressfile:{line(text, 'prune.magnitude')}:")
    assert said["symmetric"]["where"].startswith(f"Compressfile:{line(text, 'quantize.static')}:")
    assert "fuses u8-affine" in said["symmetric"]["what"]
    assert all(row["applied"] for row in advice(trained, "--apply").values())
    again = (trained.root / "Compressfile").read_text()
    assert "- prune.channels: {ratio: 0.50}\n      - finetune: {data: train, epochs: 2, lr: 0.001}" in again
    assert "quantize.static: {data: calibration, scheme: auto}   # not" in again
    trained("all")
    left = advice(trained)
    assert "zeros" not in left
    assert "fuses u8-affine" not in left.get("symmetric", {"what": ""})["what"], "what is left is the processor's"


@pytest.mark.slow
def test_int8_that_costs_time(trained: Warm) -> None:
    text = TIMED + WASTED
    trained.write("Compressfile", text)
    trained("all")
    said = advice(trained)
    assert {target: row["check"] for target, row in said.items()} == {
        "wide": "int8-not-faster",
        "every-run": "int8-not-faster",
        "stored": "weights-slower",
    }
    for target, words in (("wide", "activations: uint16"), ("every-run", "quantize.dynamic"), ("stored", "# arith")):
        assert said[target]["where"].startswith(f"Compressfile:{line(text, words)}:")
    assert "16 bits" in said["wide"]["what"]
    assert "convolutions become slower" in said["every-run"]["what"]
    applied = {target: row["applied"] for target, row in advice(trained, "--apply").items()}
    assert applied == {"wide": True, "every-run": True, "stored": False}, "to ship it for its size is for the reader"
    again = (trained.root / "Compressfile").read_text()
    assert "activations: auto}]   # wider" in again
    assert "quantize.dynamic: {op-types: [MatMul, Gemm]}]   # ranges" in again
    trained("every-run")
    rows = json.loads(trained("advise", "every-run", "--apply", "--json").out)["advice"]
    (row,) = [row for row in rows if row["check"] == "not-quantized"]
    assert "convolutions need ranges from a calibration" in row["what"], "hardly a weight of it is quantized now"
    assert not [row for row in rows if "VNNI" in row["what"] or row["check"] == "no-difference"]
    again = (trained.root / "Compressfile").read_text()
    assert "steps: [export.onnx, quantize.static: {data: calibration}]   # ranges" in again
    trained("all")
    left = advice(trained, "wide", "every-run")
    assert all("no VNNI" in row["what"] for row in left.values()), "what is left is the processor's"
