"""What the platform's processor makes of int8 is settled in the plan: 7 bits, or uint8, where products saturate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compressbuild.compressfile.load import loads
from compressbuild.graph import build_graph
from compressbuild.platforms import Facts, saturates
from compressbuild.registry import discover

FILE = """
version: 1
models:
  net: {factory: "examples.digits.model:build", inputs: {image: {shape: [batch, 1, 8, 8], dtype: float32}}}
datasets: {d: {loader: "examples.digits.data:calibration"}}
platforms:
  here: {backend: onnxruntime}
  vnni: {like: cpu-x86-vnni}
  avx2: {like: cpu-x86-avx2}
  arm: {like: arm64-edge}
  ov: {backend: openvino}
  rtx: {like: rtx-ada}
targets:
  ${name}:
    matrix: {name: [here, vnni, avx2, arm]}
    from: net
    steps: [export.onnx, STEP]
    platform: "${name}"
"""
HASWELL = Facts.fixed({"cpu.arch": "x86_64", "cpu.isa": ["avx2", "fma"]})
CASCADE = Facts.fixed({"cpu.arch": "x86_64", "cpu.isa": ["avx2", "avx512_vnni"]})
GRAVITON = Facts.fixed({"cpu.arch": "aarch64", "cpu.isa": ["asimd", "asimddp"]})


@pytest.mark.parametrize(
    ("step", "parameter", "narrow", "whole"),
    [
        ("quantize.dynamic", "weights", "uint8", "int8"),
        ("quantize.static: {data: d}", "reduce-range", True, False),
        ("quantize.mixed: {data: d}", "reduce-range", True, False),
        ("openvino.quantize: {data: d}", "overflow-fix", "all", "nncf"),
    ],
)
@pytest.mark.parametrize(("facts", "here"), [(HASWELL, True), (CASCADE, False), (GRAVITON, False)])
def test_the_platform_decides(
    step: str, parameter: str, narrow: object, whole: object, facts: Facts, here: bool, tmp_path: Path
) -> None:
    if step.startswith("openvino"):
        text = FILE.replace("STEP", step).replace("[here, vnni, avx2, arm]", "[ov]")
        expected = {"ov": narrow if here else whole}
    else:
        text = FILE.replace("STEP", step)
        expected = {"here": narrow if here else whole, "vnni": whole, "avx2": narrow, "arm": whole}
    graph = build_graph(loads(text, tmp_path / "Compressfile"), discover(cache=None), facts)
    name = step.partition(":")[0]
    found = {t: n.params[parameter] for t in expected for n in graph.nodes if n.name == name and _is_of(graph, n, t)}
    assert found == expected


def _is_of(graph: Any, node: Any, target: str) -> bool:
    model = graph.targets[target].model
    return bool(model == node.index)


def test_it_is_in_the_key_so_that_neither_is_reused_for_the_other(tmp_path: Path) -> None:
    spec = loads(FILE.replace("STEP", "quantize.dynamic"), tmp_path / "Compressfile")
    graph = build_graph(spec, discover(cache=None), CASCADE)
    vnni, avx2 = (graph.nodes[graph.targets[name].model] for name in ("vnni", "avx2"))
    assert vnni.key_params != avx2.key_params


def test_what_is_written_stays(tmp_path: Path) -> None:
    spec = loads(FILE.replace("STEP", "quantize.dynamic: {weights: int8}"), tmp_path / "Compressfile")
    graph = build_graph(spec, discover(cache=None), HASWELL)
    assert graph.nodes[graph.targets["here"].model].params["weights"] == "int8"


def test_a_backend_that_never_saturates_keeps_eight_bits(tmp_path: Path) -> None:
    text = FILE.replace("STEP", "quantize.static: {data: d}").replace("[here, vnni, avx2, arm]", "[rtx]")
    graph = build_graph(loads(text, tmp_path / "Compressfile"), discover(cache=None), HASWELL)
    assert graph.nodes[graph.targets["rtx"].model].params["reduce-range"] is False


@pytest.mark.parametrize("name", ["avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"])
def test_each_extension_that_adds_in_32_bits(name: str) -> None:
    assert saturates(HASWELL)
    assert not saturates(HASWELL, {"cpu.isa": name})
    assert saturates(CASCADE, {"cpu.isa": "avx2"}), "a platform for AVX2 has processors without VNNI"
    assert saturates(Facts.fixed({"cpu.arch": "x86_64"})), "unknown extensions"
    assert not saturates(Facts.fixed({}))
