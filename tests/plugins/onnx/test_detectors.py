"""A detector with NonMaxSuppression in its graph: what it kept has no row for each sample, and is compared nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from cbuild_onnx.model.suppression import kept_only
from command import Warm
from detector_models import detector, images

TEXT = """\
version: 1
models: {net: {file: net.onnx}}
datasets: {data: {npz: data.npz, split: {calibration: 0.3}}}
platforms: {cpu: {backend: onnxruntime, threads: 1}, vino: {backend: openvino, threads: 1}}
evaluate: {data: data, metrics: [cosine, size], baseline: fp32}
targets:
  fp32: {from: net, platform: cpu}
  int8: {from: net, steps: [quantize.static: {data: data.calibration}], platform: cpu, gates: {cosine: {min: 0.98}}}
  weights:
    from: net
    steps: [quantize.weights: {bits: 8, op-types: [Conv]}]
    platform: cpu
    gates: {cosine: {min: 0.98}}
  vino: {from: net, steps: [openvino.quantize: {data: data.calibration}], platform: vino, gates: {cosine: {min: 0.98}}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory):
    work = Warm(tmp_path_factory.mktemp("detector") / "p")
    detector(work.root / "net.onnx")
    np.savez(work.root / "data.npz", images=images())
    work.write("Compressfile", TEXT)
    yield work
    work.close()


def test_what_follows_from_suppression_is_known(tmp_path: Path) -> None:
    detector(tmp_path / "net.onnx")
    assert kept_only(onnx.load(tmp_path / "net.onnx")) == ["selected"]


def test_it_is_quantized_and_judged_by_its_boxes_and_scores(place: Warm) -> None:
    made = place.json("fp32", "int8", "weights", "-k").targets
    assert {name: each.status for name, each in made.items()} == dict.fromkeys(("fp32", "int8", "weights"), "published")
    shown = json.loads(place("show", "int8", "--json").out)
    facts = {node["node"].rpartition("/")[2]: node["facts"] or {} for node in shown["nodes"]}
    assert facts["quantize.static"]["not_compared"] == ["selected"]
    assert set(facts["quantize.static"]["sqnr_db"]) == {"boxes", "scores"}
    assert facts["onnxruntime"]["not_compared"] == ["selected"]
    # The oracle: both models run here. They do keep other boxes, and their boxes and scores are alike.
    feeds = {"images": images()}
    base, int8 = (
        dict(
            zip(
                ("boxes", "scores", "selected"),
                ort.InferenceSession(next((place.root / "build" / name).glob("*.onnx"))).run(None, feeds),
                strict=True,
            )
        )
        for name in ("fp32", "int8")
    )
    assert len(base["selected"]) != len(int8["selected"])
    pairs = [(base["boxes"].reshape(160, -1), int8["boxes"].reshape(160, -1))]
    cosine = np.mean([np.sum(a * b, 1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1) for a, b in pairs])
    assert made["int8"].metrics["cosine"] == pytest.approx(cosine, abs=2e-3)


def test_on_openvino_too(place: Warm) -> None:
    pytest.importorskip("nncf")
    made = place.json("vino", "-k").targets["vino"]
    assert (made.status, made.metrics["cosine"] > 0.98) == ("published", True), made


def test_where_nothing_has_a_row_for_each_sample_it_says_what_to_do(place: Warm) -> None:
    detector(place.root / "bare.onnx", ("selected",))
    place.write("Compressfile", TEXT.replace("net.onnx", "bare.onnx"))
    ran = place("fp32", "int8", "-k", code=1)
    assert "let a detector also give out its boxes and scores" in ran.text
    assert "Traceback" not in ran.text
    place.write("Compressfile", TEXT)
