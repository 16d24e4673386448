"""The example as a newcomer meets it: Compressfile.example on scikit-learn's digits."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from chromium import launch, moments
from command import Work

BUILT = [
    "digits", "slim", "onnx", "cpu-fp32", "cpu-int8", "trt-fp16", "trt-int8", "sweep-0.25", "sweep-0.5", "sweep-0.75",
]  # fmt: skip


@pytest.fixture(scope="module")
def metrics(example_built: Work) -> dict[str, dict]:
    found = {}
    for name in BUILT:
        path = example_built.root / "build" / name / "metrics.json"
        found[name] = msgspec.json.decode(path.read_bytes())
    return found


def test_first_build_ends_with_a_table(example_built: Work):
    lines = (example_built.root / "first.txt").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in table] == ["target", *BUILT]
    for title in ("size", "top1", "latency", "macs", "gates"):
        assert title in table[0]
    int8 = next(line for line in table if line.split("|")[1].strip() == "cpu-int8")
    assert "3 ok" in int8
    assert "×" in int8  # latency, with its ratio to the baseline
    assert any(line.startswith("skipped server-fp16: needs ") for line in lines)
    assert any(line.startswith("not measured: trt-fp16 (top1, latency), trt-int8 (top1, latency): ") for line in lines)
    assert lines[-1].startswith("10 of 11 targets up to date (")


def test_model_was_trained_and_stays_good(metrics: dict[str, dict]):
    top1 = {name: found["metrics"]["top1"]["value"] for name, found in metrics.items() if "top1" in found["metrics"]}
    assert top1["digits"] > 0.97
    assert top1["cpu-int8"] > top1["digits"] - 0.02
    assert top1["sweep-0.75"] > 0.9
    size = {name: found["metrics"]["size"]["value"] for name, found in metrics.items()}
    assert size["sweep-0.25"] > size["sweep-0.5"] > size["sweep-0.75"]
    assert size["cpu-int8"] < 0.5 * size["cpu-fp32"]
    macs = {name: found["metrics"]["macs"]["value"] for name, found in metrics.items()}
    assert macs["slim"] < 0.5 * macs["digits"]
    assert macs["cpu-fp32"] == macs["cpu-int8"] == macs["onnx"] == macs["slim"]
    assert all(verdict["ok"] for found in metrics.values() for verdict in found["gates"])


def test_published(example_built: Work):
    build = example_built.root / "build"
    assert sorted(os.listdir(build)) == sorted(BUILT)
    for name in BUILT:
        assert {"metrics.json", "provenance.json"} < set(os.listdir(build / name))
    assert (build / "trt-fp16/model.engine").stat().st_size > 10_000
    assert example_built("verify").out.endswith("10 checked, 0 bad\n")


def test_prefixes_are_shared(example_built: Work):
    """slim and sweep-0.5 prune alike; trt-fp16 and server-fp16 convert alike: each is one node."""
    rows = [msgspec.json.decode(line) for line in example_built.json("-n", "all").out.splitlines()]
    positions = [row["positions"] for row in rows if "positions" in row]
    assert ["slim/prune.channels", "sweep-0.5/prune.channels"] in positions
    assert ["trt-fp16/convert.fp16", "server-fp16/convert.fp16"] in positions
    schemes = {
        name: next(n["params"]["scheme"] for n in show["nodes"] if n["node"] == f"{name}/quantize.static")
        for name in ("cpu-int8", "trt-int8")
        for show in [msgspec.json.decode(example_built("show", name, "--json").out)]
    }
    assert schemes == {"cpu-int8": "u8-affine", "trt-int8": "s8-symmetric"}


def test_restoring_the_engine_runs_nothing(example: Work):
    before = example.published()
    example.unpublish()
    ran = example.json("trt-fp16")
    assert ran.started == []
    assert example.published() == {name: data for name, data in before.items() if name.startswith("trt-fp16/")}


def test_one_parameter_of_one_leaf(example: Work):
    before = example.published()
    leaf = "targets.trt-fp16.steps.0.convert.fp16.keep-io-types=false"
    there = example.json("all", "--set", leaf)
    assert set(there.started) <= {
        "trt-fp16/convert.fp16", "trt-fp16/tensorrt-rtx", "trt-fp16/size", "trt-fp16/macs", "trt-fp16/layers",
    }  # fmt: skip
    changed = {name for name, data in example.published().items() if data != before[name]}
    assert changed == {"trt-fp16/model.engine", "trt-fp16/engine.json"} & changed
    assert "trt-fp16/model.engine" in changed
    back = example.json("all")
    assert back.started == []
    assert example.published() == before


def test_pruning_less_says_what_would_run(example_built: Work):
    ran = example_built("cpu-int8", "-n", "--set", "vars.ratio=0.3")
    lines = ran.out.splitlines()
    assert lines[0] == "run      slim/prune.channels  (parameter ratio: 0.5 → 0.3)"
    assert "may run  slim/distill  (depends on slim/prune.channels)" in lines
    assert "digits/train" not in ran.out


def test_latency_can_be_measured_again(example: Work):
    ran = example.json("sweep-0.75", "--remeasure")
    assert set(ran.started) == {"sweep-0.75/latency"}
    assert ran.targets["sweep-0.75"].metrics["latency"] > 0


def test_the_report_is_there_at_once(example_built: Work, tmp_path: Path):
    """One small file; from file:// a first click is answered in under a second of the wall's clock, at best."""
    browser = launch(tmp_path / "profile")
    try:
        example_built("report", "-o", str(tmp_path / "report.html"))
        assert 100_000 < (tmp_path / "report.html").stat().st_size < 3_000_000
        answered = [load[-1] for load in moments(browser, tmp_path / "report.html", loads=8, enough=1000)]
        assert 0 < min(answered) < 1000
        said = browser.find_element("id", "choice").text
        assert browser.get_log("browser") == []
    finally:
        browser.quit()
    assert said.startswith("Ship "), "which artifact, before anything else"
    assert "Beside cpu-fp32: no difference in top1 shown" in said
    assert "server-fp16 (cannot be built here)" in said
