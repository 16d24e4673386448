"""Limits of gates written as sizes and times."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressbuild.compressfile.load import loads
from compressbuild.compressfile.spec import GateSpec
from compressbuild.errors import CompressfileError
from compressbuild.graph import build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover

FILE = """
version: 1
models: {{net: {{file: model.onnx}}}}
platforms: {{cpu: {{backend: onnxruntime}}}}
evaluate: {{metrics: [size, latency], memory: 4gib}}
targets: {{t: {{from: net, platform: cpu, gates: {gates}}}}}
"""


def gate(folder: Path, gates: str) -> GateSpec:
    spec = loads(FILE.format(gates=gates), folder / "Compressfile")
    found = build_graph(spec, discover(cache=None), Facts.fixed({}))
    assert spec.evaluate is not None
    assert spec.evaluate.options.memory == 2**32
    return found.targets["t"].gates[0].spec


@pytest.mark.parametrize(
    ("written", "most"),
    [
        ("size: {max: 1MB}", 1e6),
        ("size: {max: 1 MiB}", 2**20),
        ("size: {max: 1kb}", 1e3),
        ("size: {max: 7}", 7),
        ("latency: {max: 10ms}", 10),
        ("latency: {max: 0.5 s}", 500),
        ("latency: {max: 2}", 2),
    ],
)
def test_they_are_in_the_unit_of_the_metric(written: str, most: float, tmp_path: Path) -> None:
    found = gate(tmp_path, f"{{{written}}}")
    assert (found.max, dict(found.units)) == (most, {})


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("latency: {max: 1MB}", "'max' of gate 'latency' is a size, but the metric is in ms"),
        ("size: {max: 10ms}", "'max' of gate 'size' is a time, but the metric is in B"),
        ("macs: {min: 10ms}", "'min' of gate 'macs' is a time, but the metric is a number"),
        ("size: {max: 1 XB}", "'max' of gate 'size' must be a number, not the text '1 XB'"),
        ("size: {max: '1'}", "'max' of gate 'size' must be a number, not the text '1'"),
        ("size: {max-ratio: 1MB, against: net}", "'max-ratio' of gate 'size' must be a number"),
    ],
)
def test_what_counts_something_else_is_refused(written: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(CompressfileError) as caught:
        gate(tmp_path, f"{{{written}}}")
    assert said in str(caught.value)
