"""The plugin of docs/plugins.md whose parameters hold references in a list, a mapping and a struct."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from command import Work
from onnx import TensorProto, helper, numpy_helper
from pages import ROOT

PAGE = (ROOT / "docs" / "plugins.md").read_text()
MODELS = "models: {first: {file: first.onnx}, second: {file: second.onnx}, third: {file: third.onnx}}\n"


def save(path: Path, weight: float) -> None:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "scale"], ["y"]), helper.make_node("Add", ["y", "bias"], ["z"])],
        "scaled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 2])],
        [
            numpy_helper.from_array(np.full(2, weight, np.float32), "scale"),
            numpy_helper.from_array(np.full(2, -weight, np.float32), "bias"),
        ],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


@pytest.fixture
def project(tmp_path: Path) -> Work:
    code = re.search(r"^```python\n# cbuild_soup.py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    targets = re.search(r"^```yaml\n(targets:\n  soup:\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert code is not None
    assert targets is not None
    work = Work(tmp_path / "project")
    info = "site/cbuild_soup-1.0.dist-info"
    work.write("site/cbuild_soup.py", code[1])
    work.write(f"{info}/METADATA", "Metadata-Version: 2.1\nName: cbuild-soup\nVersion: 1.0\n")
    work.write(f"{info}/entry_points.txt", "[compressbuild]\nsoup = cbuild_soup\n")
    work.write("Compressfile", f"version: 1\n{MODELS}{targets[1]}")
    for name, weight in (("first", 1.0), ("second", 2.0), ("third", 3.0)):
        save(work.root / f"{name}.onnx", weight)
    return work


def path_of(work: Work) -> str:
    return f"{work.root / 'site'}:{work.environment().get('PYTHONPATH', '')}"


def test_it_averages_and_each_reference_is_an_edge(project: Work) -> None:
    project("all", PYTHONPATH=path_of(project))
    proto = onnx.load(project.root / "build" / "soup" / "model.onnx")
    found = {each.name: numpy_helper.to_array(each) for each in proto.graph.initializer}
    np.testing.assert_allclose(found["scale"], (1 + 2 + 2 * 3) / 4)
    np.testing.assert_allclose(found["bias"], -3)
    assert "nothing to do" in project("all", PYTHONPATH=path_of(project)).text
    for name in ("second", "third"):  # in a struct of a list; in that and in a mapping
        save(project.root / f"{name}.onnx", 5.0)
        assert "soup/soup.onnx" in project.json("all", PYTHONPATH=path_of(project)).started


def test_a_name_that_is_nothing_is_refused_where_it_stands(project: Work) -> None:
    project.edit("Compressfile", "model: second", "model: sceond")
    ran = project("all", PYTHONPATH=path_of(project), code=2)
    assert "did you mean 'second'?" in ran.err
    text = (project.root / "Compressfile").read_text().splitlines()
    line = next(number for number, each in enumerate(text, 1) if "sceond" in each)
    assert f"Compressfile:{line}:" in ran.err


def test_the_help_shows_the_struct(project: Work) -> None:
    out = project("help", "soup.onnx", PYTHONPATH=path_of(project)).out
    assert "  others  (list of {model, weight}; required)\n      the models to average with\n" in out
    assert "  keep  (mapping: text → model; default none)\n" in out
    assert msgspec.json.decode(project("schema", PYTHONPATH=path_of(project)).out)["$defs"]["params.Ingredient"]
