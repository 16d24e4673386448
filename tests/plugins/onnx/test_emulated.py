"""int8 on a processor without VNNI, emulated: what the plan chooses for it is exact there, what it avoids is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cbuild_onnx.model.exact import reference
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeStatic
from onnx import TensorProto, helper, numpy_helper

QEMU = shutil.which("qemu-x86_64")
pytestmark = pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64 (Debian: qemu-user)")

RUN = """
import sys
sys.path[:] = {path!r}
import numpy as np
import onnxruntime as ort

options = ort.SessionOptions()
options.intra_op_num_threads = 1
for model, answer in {models!r}:
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    np.save(answer, session.run(None, {{"x": np.load({inputs!r})}})[0])
"""


def data() -> Any:
    rng = np.random.default_rng(0)
    for _ in range(4):
        yield rng.uniform(0.7, 1, (16, 256)).astype(np.float32), np.zeros(16, np.int64)


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """Large inputs of one sign and large weights: what saturates when two of their products are added in 16 bits."""
    weight = np.random.default_rng(1).uniform(0.6, 1, (256, 64)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 64])],
        [numpy_helper.from_array(weight, "w")],
    )
    place = tmp_path / "product"
    place.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), place / "model.onnx")
    return place


def emulated(models: list[Path], inputs: np.ndarray, place: Path) -> list[np.ndarray]:
    np.save(place / "x.npy", inputs)
    pairs = [(str(path / "model.onnx"), str(place / f"{number}.npy")) for number, path in enumerate(models)]
    code = RUN.format(path=sys.path, models=pairs, inputs=str(place / "x.npy"))
    python = str(Path(sys.executable).resolve())
    subprocess.run([str(QEMU), "-cpu", "Haswell", python, "-c", code], check=True, timeout=300, capture_output=True)
    return [np.load(answer) for _, answer in pairs]


def sqnr(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(wanted**2.0) / np.sum((wanted - found) ** 2.0)))


def test_what_the_plan_chooses_is_exact_and_int8_is_not(technique: Any, product: Path, tmp_path: Path) -> None:
    dynamic, static = "cbuild_onnx.quantize.dynamic:quantize", "cbuild_onnx.quantize.static:quantize"
    makers = [
        (dynamic, QuantizeDynamic(weights="int8", reduce_range=False)),
        (dynamic, QuantizeDynamic(weights="uint8", reduce_range=True)),
        (static, QuantizeStatic(data="positive", scheme="u8-affine", reduce_range=False)),
        (static, QuantizeStatic(data="positive", scheme="u8-affine", reduce_range=True)),
    ]
    made = [technique(run, product, params, datasets={"positive": "test_emulated:data"}) for run, params in makers]
    inputs = next(data())[0]
    found = emulated([product, *(node.out for node in made)], inputs, tmp_path)
    wanted = found[0]
    whole, unsigned, eight, seven = (sqnr(wanted, answer) for answer in found[1:])
    assert whole < 20 < 35 < unsigned
    assert eight < 20 < 30 < seven
    # the step's own comparison, and the reference of parity, do not depend on the processor
    assert min(node.facts["sqnr_db"]["y"] for node in made) > 30
    exact = reference(made[0].out / "model.onnx", tmp_path / "exact", threads=1)({"x": inputs})["y"]
    assert sqnr(wanted, exact) > 35
