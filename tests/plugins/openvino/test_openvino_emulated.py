"""What NNCF makes for a processor without VNNI, on one that is emulated."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_models as models
import pytest
from cbuild_openvino.quantize.params import OpenVinoQuantize
from onnx import TensorProto, helper, numpy_helper

from compressbuild.api.testing import run_node

pytest.importorskip("nncf")
QEMU = shutil.which("qemu-x86_64")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64 (Debian: qemu-user)")]

RUN = """
import sys
sys.path[:] = {path!r}
import numpy as np
import openvino

options = {{"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}}
for model, answer in {models!r}:
    compiled = openvino.Core().compile_model(model, "CPU", options)
    np.save(answer, compiled([np.load({inputs!r})])[0])
"""


def data() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    for _ in range(4):
        yield rng.uniform(0.7, 1, (16, 256)).astype(np.float32), np.zeros(16, np.int64)


def sqnr(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(wanted**2.0) / np.sum((wanted - found) ** 2.0)))


def test_the_overflow_fix_is_what_makes_it_right(tmp_path: Path) -> None:
    """Large inputs of one sign and large weights: what saturates when two of their products are added in 16 bits."""
    weight = np.random.default_rng(1).uniform(0.6, 1, (256, 64)).astype(np.float32)
    source = models.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        {"x": (TensorProto.FLOAT, ["batch", 256])},
        {"y": (TensorProto.FLOAT, ["batch", 64])},
        [numpy_helper.from_array(weight, "w")],
    )
    artifact = models.save(source, tmp_path / "source")
    pairs = []
    for fix in ("none", "all"):
        node = run_node(
            "cbuild_openvino.quantize.quantize:quantize",
            artifact,
            OpenVinoQuantize(data="positive", overflow_fix=fix),
            tmp_path / fix,
            kind="onnx",
            datasets={"positive": f"{__name__}:data"},
        )
        pairs.append((str(node.out / "model.xml"), str(tmp_path / f"{fix}.npy")))
    inputs = next(data())[0]
    np.save(tmp_path / "x.npy", inputs)
    code = RUN.format(path=sys.path, models=pairs, inputs=str(tmp_path / "x.npy"))
    python = str(Path(sys.executable).resolve())
    subprocess.run([str(QEMU), "-cpu", "Haswell", python, "-c", code], check=True, timeout=300, capture_output=True)
    eight, seven = (sqnr(inputs @ weight, np.load(answer)) for _, answer in pairs)
    assert eight < 20 < 30 < seven
