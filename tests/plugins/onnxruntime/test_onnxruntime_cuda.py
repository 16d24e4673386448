"""ONNX Runtime's CUDA provider on an NVIDIA GPU."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx_models as models
import onnxruntime
import pytest
from cbuild_onnxruntime.runner import load
from cbuild_onnxruntime.settings import OnnxRuntimeSettings

from compressbuild.api import Profile, Profiling, UserError, WorkInput
from compressbuild.api.testing import make_context, run_node
from compressbuild.platforms import check, probe

COMPILE = "cbuild_onnxruntime.compile:compile"
CUDA = OnnxRuntimeSettings(provider="cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(check(CUDA.needs(), probe())), reason="needs an NVIDIA GPU and onnxruntime-gpu"),
]


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save(models.cnn(), tmp_path_factory.mktemp("ort") / "fp32")


@pytest.mark.parametrize(("tf32", "least_db", "tolerance"), [(False, 90, 1e-4), (True, 45, 2e-2)])
def test_compiles_runs_and_compares(tf32: bool, least_db: float, tolerance: float, fp32: Path, tmp_path: Path) -> None:
    settings = OnnxRuntimeSettings(provider="cuda", tf32=tf32)
    node = run_node(COMPILE, fp32, settings, tmp_path / "out")
    assert node.facts["provider"] == "CUDAExecutionProvider"
    assert node.facts["sqnr_db"] > least_db
    assert node.facts["parity"]["precision"] == ("fp16" if tf32 else "fp32")
    session = onnxruntime.InferenceSession(str(fp32 / "model.onnx"), providers=["CPUExecutionProvider"])
    runner = load(make_context(tmp_path / "ctx"), node.out, settings)
    for rows in (1, 8, 64):
        x = models.images(rows)
        wanted = session.run(None, {"image": x})[0]
        np.testing.assert_allclose(runner({"image": x})["logits"], wanted, rtol=tolerance, atol=tolerance)


def test_half_precision(fp32: Path, tmp_path: Path) -> None:
    source = models.save(models.half(models.cnn()), tmp_path / "fp16")
    node = run_node(COMPILE, source, CUDA, tmp_path / "out")
    assert node.facts["parity"]["precision"] == "fp16"
    assert node.facts["sqnr_db"] > 40


def test_profile(fp32: Path, tmp_path: Path) -> None:
    node = run_node(COMPILE, fp32, CUDA, tmp_path / "out")
    entry = WorkInput(
        path=str(node.out),
        kind="onnxruntime-model",
        load="cbuild_onnxruntime.runner:load",
        settings={"provider": "cuda"},
        settings_type="cbuild_onnxruntime.settings:OnnxRuntimeSettings",
    )
    facts = run_node("cbuild_onnxruntime.profile:profile", entry, Profiling(batch=8, repeats=5), tmp_path / "profile")
    found = msgspec.convert(facts.facts, Profile)
    assert any("Conv" in row.op for row in found.operators)
    assert found.run_us > 0


def test_an_operator_that_the_gpu_lacks(tmp_path: Path) -> None:
    """The provider has no determinant: without cpu-fallback that is an error, with it the operator runs on the CPU."""
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Relu", ["x"], ["positive"]), helper.make_node("Det", ["positive"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"])
    graph = helper.make_graph(nodes, "determinant", [x], [y])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    source = models.save(proto, tmp_path / "source")
    with pytest.raises(UserError, match="ONNX Runtime cannot load the model: ") as caught:
        run_node(COMPILE, source, CUDA, tmp_path / "out")
    assert "cpu-fallback: true" in (caught.value.hint or "")
    fallback = OnnxRuntimeSettings(provider="cuda", cpu_fallback=True)
    runner = load(make_context(tmp_path / "ctx"), run_node(COMPILE, source, fallback, tmp_path / "mixed").out, fallback)
    identity = np.stack([np.eye(3, dtype=np.float32) * 2] * 4)
    np.testing.assert_allclose(runner({"x": identity})["y"], [8, 8, 8, 8], rtol=1e-5)
