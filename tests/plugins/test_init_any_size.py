"""`cbuild init` on an ONNX detector that takes pictures of any size, but not of every one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_models as models
import pytest
from command import Warm
from PIL import Image

# Of a picture of 64×64, by hand: five halvings, and a head on the features of the fourth.
MACS = 9 * (3 * 8 * 32**2 + 8 * 8 * (16**2 + 8**2 + 4**2 + 2**2) + 16 * 4**2)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    work = Warm(tmp_path_factory.mktemp("any-size") / "p")
    onnx.save(models.pyramid(), work.root / "pyramid.onnx")
    (work.root / "photos").mkdir()
    generator = np.random.default_rng(0)
    for number in range(220):
        grey = generator.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(grey).resize((64, 64)).save(work.root / "photos" / f"{number}.png")
    yield work
    work.close()


def test_it_is_counted_at_a_size_that_it_takes_and_builds(place: Warm) -> None:
    ran = place("init", "pyramid.onnx", "--data", "photos")
    assert "failed" not in ran.text
    assert "MACs a sample (height 64, width 64)" in ran.out
    text = (place.root / "Compressfile").read_text()
    assert "metrics: [cosine, latency: {axes: {height: 224, width: 224}}, size]" in text, "as large as the pictures"
    assert "- quantize.weights: {bits: 8, op-types: [Conv, Gemm], data: data.calibration}" in text
    place("-n", "all")
    small = text.replace("224", "64")  # as the reader is asked to check
    place.write("Compressfile", small)
    made = place.json("all", "-k", code=None)
    assert not made.failures
    assert made.targets.keys() == {"fp32", "static-int8", "weights-int8-conv"}
    assert made.targets["weights-int8-conv"].metrics["cosine"] > 0.99


def test_metrics_find_the_size_alone(place: Warm, tmp_path: Path) -> None:
    """Without an axis named, where 16 is refused."""
    place.write(
        "Other",
        "version: 1\nmodels: {net: {file: pyramid.onnx}}\nplatforms: {cpu: {backend: onnxruntime, threads: 1}}\n"
        "evaluate: {metrics: [macs, roofline: {seconds: 0.1}, latency: {seconds: 0.1, blocks: 5}]}\n"
        "targets: {net-cpu: {from: net, platform: cpu}}\n",
    )
    made = place.json("all", "-f", "Other").targets["net-cpu"].metrics
    assert made["macs"] == MACS
    assert made["latency"] > 0
    assert 0 < made["roofline"] <= 1.5


def test_without_data_a_step_checks_on_generated_inputs(place: Warm) -> None:
    out = place("init", "pyramid.onnx", "-f", "-").out
    assert "- quantize.weights: {bits: 8, op-types: [Conv, Gemm]}\n" in out
