from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import digits
import numpy as np
import onnx
import pytest
from cbuild_onnx.model import files
from cbuild_torch.to_onnx.params.export import ExportOnnx
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def technique(tmp_path: Path) -> Callable[..., object]:
    """Apply a technique to an ONNX artifact."""
    count = iter(range(100))

    def apply(run: str, subject: Path, params: object, **world: object):
        return digits.apply(run, subject, params, tmp_path / f"out-{next(count)}", **world)

    return apply


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    """Two matrix products on images, with rows of very different scale."""
    generator = np.random.default_rng(0)
    one = (generator.standard_normal((64, 128)) * generator.uniform(0.01, 3, (1, 128))).astype(np.float32)
    two = generator.standard_normal((128, 10)).astype(np.float32)
    shape = np.array([0, 64], np.int64)
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["image", "shape"], ["flat"], "flatten"),
            helper.make_node("MatMul", ["flat", "one"], ["hidden"], "first"),
            helper.make_node("Relu", ["hidden"], ["active"], "activate"),
            helper.make_node("MatMul", ["active", "two"], ["logits"], "second"),
        ],
        "mlp",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array, name) for name, array in (("one", one), ("two", two), ("shape", shape))],
    )
    (tmp_path / "mlp").mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    files.write(model, tmp_path / "mlp")
    return tmp_path / "mlp"


@pytest.fixture
def model_of() -> Callable[[Path], onnx.ModelProto]:
    return lambda directory: onnx.load(directory / "model.onnx")


@pytest.fixture(scope="session")
def exported_sequence(
    trained_sequence: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A trained model of :mod:`sequence_models` as ONNX; made once."""

    @cache
    def make(name: str) -> Path:
        place = tmp_path_factory.mktemp(name) / "onnx"
        return digits.apply("cbuild_torch.to_onnx.export:export", trained_sequence(name), ExportOnnx(), place).out

    return make
