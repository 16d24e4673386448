"""What is pushed loads elsewhere: moved once more, in a fresh process, with the original gone, by the card's lines."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from command import Work
from onnx import TensorProto, helper, numpy_helper

from compressbuild.build.verification import verify

COMPRESSFILE = """\
version: 1
models:
  net: {factory: net:build, inputs: {x: {shape: [batch, 8], dtype: float32}}}
  big: {file: model.onnx, files: [weights.bin]}
platforms:
  cpu: {backend: onnxruntime, threads: 1}
  ov: {backend: openvino, threads: 1}
targets:
  torch: {from: net}
  external: {from: big}
  onnxruntime: {from: big, platform: cpu}
  openvino: {from: big, platform: ov}
"""
NET = """\
import torch


def build():
    return torch.nn.Linear(8, 4)
"""
LOAD = """\
import sys
import numpy as np
directory, inputs = sys.argv[1], {"x": np.load(sys.argv[2])}
LINES
found = weights["weight"].numpy() if "weights" in globals() else np.asarray(outputs[0])
np.save(sys.argv[3], found)
assert not any(name.startswith(("compressbuild", "cbuild_")) for name in sys.modules)
"""


def external(place: Path) -> np.ndarray:
    """A model whose weights lie in a file beside it. Returns them."""
    weights = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
    tensor = numpy_helper.from_array(weights, "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 64])],
        [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(place / "model.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0)
    return weights


@pytest.mark.parametrize(
    "names", [("external",), pytest.param(("torch", "onnxruntime", "openvino"), marks=pytest.mark.slow)]
)
def test_it_loads_elsewhere(tmp_path: Path, names: tuple[str, ...]) -> None:
    if "openvino" in names:
        pytest.importorskip("openvino")
    work = Work(tmp_path / "project")
    work.write("Compressfile", COMPRESSFILE)
    work.write("net.py", NET)
    weights = external(work.root)
    work(*names)
    work("push", *names, f"{tmp_path}/first/")
    lines = {name: loading(work, name) for name in names}
    shutil.rmtree(work.root)
    (tmp_path / "first").rename(tmp_path / "moved")
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    for name in names:
        place = tmp_path / "moved" / name
        assert not verify(place, name).mismatches
        if name == "external":
            assert "weights.bin" in {path.name for path in place.iterdir()}
        (tmp_path / "load.py").write_text(LOAD.replace("LINES", lines[name]))
        arguments = [str(place), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
        subprocess.run([sys.executable, "-I", str(tmp_path / "load.py"), *arguments], check=True, cwd=tmp_path)
        found = np.load(tmp_path / "y.npy")
        if name == "torch":
            assert found.shape == (4, 8)
        else:
            np.testing.assert_allclose(found, x @ weights, rtol=1e-4, atol=1e-5)


def loading(work: Work, name: str) -> str:
    from compressbuild.project import Project
    from compressbuild.push.parcel import parcels

    project = Project(work.root / "Compressfile")
    card = parcels(project, [name])[0].parcel.card
    project.close()
    found = re.search(r"## Load\n.*?```python\n(.*?)```", card, re.DOTALL)
    assert found is not None, card
    assert len(found[1].splitlines()) <= 4
    return found[1]
