"""What README.md shows works: its commands, its Compressfile, its plugin, its picture."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import onnx
import pytest
from command import Work
from onnx import TensorProto, helper, numpy_helper
from pages import EXAMPLE, ROOT, blocks, with_example
from test_techniques import registry

from compressbuild.compressfile.load import loads
from compressbuild.graph import build_graph
from compressbuild.platforms import Facts, probe

README = ROOT / "README.md"
TEXT = README.read_text()


def test_it_names_the_two_commands_and_they_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in ("demo", "test"):
        assert f"make {command}" in TEXT
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)


def test_it_is_short_and_starts_with_what_it_is() -> None:
    lines = TEXT.splitlines()
    assert len(lines) < 190
    screen = "\n".join(lines[:40])
    assert "make demo" in screen
    assert "docs/tutorial.md" in screen


def test_its_compressfile_resolves() -> None:
    own, block = blocks(README, "yaml")
    assert "npz" in own.text
    assert len(block.text.splitlines()) <= 13
    spec = loads(with_example(block.text), Path("Compressfile"))
    graph = build_graph(spec, registry(), Facts.fixed({}))
    assert {"slim", "onnx", "int8"} <= graph.targets.keys()
    assert len(graph.targets["int8"].gates) == 2


@pytest.mark.parametrize("openvino", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_your_own_model(tmp_path: Path, openvino: bool) -> None:
    """An ONNX file and a .npz, with no Python of the user's: int8, measured. The short form has one runtime."""
    own, _ = blocks(README, "yaml")
    work = Work(tmp_path / "own")
    text = own.text if openvino else own.text.replace("[ort, vino]", "[ort]")
    work.write("Compressfile", text.replace("latency, ", ""))
    random = np.random.default_rng(0)
    centres = random.normal(size=(4, 16)).astype(np.float32)
    label = random.integers(0, 4, 400)
    x = (centres[label] + 0.1 * random.normal(size=(400, 16))).astype(np.float32)
    np.savez(work.root / "data.npz", x=x, label=label)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(np.ascontiguousarray(centres.T), "w")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), work.root / "model.onnx"
    )
    ran = work.json("all")
    assert {target.status for target in ran.targets.values()} == {"published"}
    assert set(ran.targets) == {"ort-fp32", "int8-ort"} | ({"int8-vino"} if openvino else set())
    assert all(target.metrics["top1"] > 0.9 for target in ran.targets.values())


def test_its_plugin_works(tmp_path: Path) -> None:
    files = {b.text.splitlines()[0].removeprefix("# "): b.text for b in blocks(README, "python")}
    assert sum(len([line for line in text.splitlines()[1:] if line]) for text in files.values()) <= 20
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (point,) = re.findall(r'`(clip = "[\w.]+")`', TEXT)
    info = tmp_path / "cbuild_clip-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cbuild-clip\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[compressbuild]\n" + point.replace('"', "") + "\n")
    project = tmp_path / "project"
    project.mkdir()
    (step,) = re.findall(r"`(clip\.weights: \{.*?\})`", TEXT)
    lines = ["version: 1", "models: {m: {file: m.onnx}}", "targets: {clipped: {from: m, steps: [" + step + "]}}", ""]
    (project / "Compressfile").write_text("\n".join(lines))
    weights = np.array([[2.0, 0.25], [-0.125, -2.0]], np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, project / "m.onnx")
    done = subprocess.run(
        [sys.executable, "-m", "compressbuild", "all"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = onnx.load(project / "build" / "clipped" / "model.onnx")
    np.testing.assert_array_equal(numpy_helper.to_array(made.graph.initializer[0]), weights.clip(-0.5, 0.5))


def test_its_picture_is_of_the_example(tmp_path: Path) -> None:
    """What ``cbuild graph`` draws today, but for what happened to be built, and the tooltips."""
    isa = probe().get("cpu.isa") or []
    if probe().get("cpu.arch") == "x86_64" and not any("vnni" in name for name in isa):
        pytest.skip("drawn for a processor with VNNI: without it, weights of 8 bits get another range")
    (tmp_path / "Compressfile").write_text(EXAMPLE)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    command = [sys.executable, "-m", "compressbuild", "graph", "--format", "svg", "-o", "graph.svg"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    drawn, kept = (tmp_path / "graph.svg").read_text(), (ROOT / "docs" / "graph.svg").read_text()
    ElementTree.fromstring(kept)
    assert visible(kept) == visible(drawn), "draw it again: cbuild graph --format svg -o docs/graph.svg"


def visible(svg: str) -> str:
    """Without what tells built nodes from others (dashes, and the legend's entry for them) and without tooltips."""
    svg = svg.replace(' stroke-dasharray="5 3"', "")
    svg = re.sub(r"<title>.*?</title>", "", svg, flags=re.DOTALL)
    return re.sub(r'<rect [^>]*height="12\.0"[^>]*/>\n<text [^>]*>to be built</text>', "", svg)
