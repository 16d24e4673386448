"""Real TensorRT-RTX builds, with no GPU."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import onnx
import onnx_models as models
import pytest
from cbuild_tensorrt.artifact import validate
from cbuild_tensorrt.cuda import Cuda
from cbuild_tensorrt.settings import TensorRTRTXSettings
from onnx import TensorProto, helper

from compressbuild.api import UserError
from compressbuild.api.testing import NodeRun, run_node

pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX (pip install tensorrt_rtx_cu13)", exc_type=ImportError)

COMPILE = "cbuild_tensorrt.rtx:compile"


def settings(capability: str | list[str] = "sm89", **more: Any) -> TensorRTRTXSettings:
    return TensorRTRTXSettings(compute_capability=capability, **more)


def build(artifact: Path, out: Path, **more: Any) -> NodeRun:
    return run_node(COMPILE, artifact, settings(**more), out)


def description(node: NodeRun) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((node.out / "engine.json").read_text())
    return found


def refused(proto: onnx.ModelProto, tmp_path: Path, **more: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        build(models.save(proto, tmp_path / "model"), tmp_path / "out", **more)
    assert "\n" not in str(caught.value)
    assert "/_src/" not in str(caught.value)
    assert "CUDA driver" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(("variant", "precision"), [("fp32", "float32"), ("fp16", "float16"), ("s8-symmetric", "int8")])
def test_builds_an_engine_without_a_gpu(
    variant: str, precision: str, artifacts: dict[str, Path], tmp_path: Path
) -> None:
    node = build(artifacts[variant], tmp_path / "out")
    validate(node.out)
    found = description(node)
    io = "float16" if variant == "fp16" else "float32"
    assert found["precision"] == node.facts["precision"] == precision
    assert found["compute_capabilities"] == ["sm89"]
    assert found["inputs"] == [
        {
            "name": "image",
            "shape": ["batch", 1, 8, 8],
            "dtype": io,
            "profile": {"min": [1, 1, 8, 8], "opt": [8, 1, 8, 8], "max": [64, 1, 8, 8]},
        }
    ]
    assert found["outputs"][0]["name"] == "logits"
    assert found["outputs"][0]["shape"][1:] == [10]
    assert found["bytes"] == (node.out / "model.engine").stat().st_size > 100_000
    assert sorted(path.name for path in node.out.iterdir()) == ["engine.json", "model.engine"]


def test_progress_grows_to_the_end(artifacts: dict[str, Path], tmp_path: Path) -> None:
    reports = build(artifacts["fp32"], tmp_path / "out").progress
    done = [report["done"] for report in reports]
    assert done == sorted(set(done))
    assert done[-1] == reports[-1]["total"] == 100
    assert len(done) > 5
    assert reports[-1]["phase"] == "Building engine"


@pytest.mark.parametrize("variant", ["fp32", "fp16"])
def test_float_engines_are_the_same_bytes_in_two_processes(
    variant: str, artifacts: dict[str, Path], tmp_path: Path
) -> None:
    script = (
        "import sys; from pathlib import Path; from compressbuild.api.testing import run_node;"
        "from cbuild_tensorrt.settings import TensorRTRTXSettings as S;"
        f"run_node({COMPILE!r}, Path(sys.argv[1]), S(compute_capability='sm89'), Path(sys.argv[2]))"
    )
    digests = set()
    for seed in ("1", "2"):
        out = tmp_path / f"elsewhere{seed}"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", script, str(artifacts[variant]), str(out)]
        subprocess.run(command, check=True, env=environment, cwd=tmp_path)
        digests.add(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in sorted(out.iterdir())))
    assert len(digests) == 1


def test_several_compute_capabilities_in_one_engine(artifacts: dict[str, Path], tmp_path: Path) -> None:
    one = build(artifacts["fp32"], tmp_path / "one", capability="sm86")
    both = build(artifacts["fp32"], tmp_path / "both", capability=["8.9", "SM86"])
    assert description(both)["compute_capabilities"] == ["sm86", "sm89"]
    assert description(both)["bytes"] > description(one)["bytes"]


@pytest.mark.parametrize("capability", ["sm80", "sm86", "sm120", "sm121"])
def test_compute_capabilities_that_it_supports(capability: str, artifacts: dict[str, Path], tmp_path: Path) -> None:
    assert build(artifacts["fp32"], tmp_path / "out", capability=capability).facts["compute_capabilities"] == [
        capability
    ]


@pytest.mark.parametrize("capability", ["sm90", "sm100", "none", "ada", ""])
def test_a_compute_capability_that_it_has_not(capability: str, artifacts: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"has no compute capability '{capability}'") as caught:
        build(artifacts["fp32"], tmp_path / "out", capability=capability)
    assert "sm75, sm80, sm86, sm89, sm120, sm121" in (caught.value.hint or "")


def test_turing_takes_float16_only(artifacts: dict[str, Path], tmp_path: Path) -> None:
    assert build(artifacts["fp16"], tmp_path / "fp16", capability="sm75").facts["precision"] == "float16"
    with pytest.raises(UserError, match=r"'fc' for Turing \(SM75\): FP32 GEMM is not supported$") as caught:
        build(artifacts["fp32"], tmp_path / "fp32", capability="sm75")
    assert "convert.fp16" in (caught.value.hint or "")


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU here")
def test_current_needs_a_gpu(artifacts: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no CUDA driver"):
        Cuda()
    with pytest.raises(UserError, match="the CUDA driver is missing or too old for this TensorRT"):
        build(artifacts["fp32"], tmp_path / "out", capability="current")


def test_current_stands_alone(artifacts: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'current' cannot stand beside others"):
        build(artifacts["fp32"], tmp_path / "out", capability=["current", "sm89"])


def test_u8_quantization_is_refused_and_the_remedy_is_named(artifacts: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        build(artifacts["u8-affine"], tmp_path / "out")
    assert "(DequantizeLinear): " in str(caught.value)
    assert "input has type Int32" in str(caught.value)
    assert "scheme: s8-symmetric" in (caught.value.hint or "")


def test_a_zero_point_is_refused_and_the_remedy_is_named(tmp_path: Path) -> None:
    weights = [
        helper.make_tensor("scale", TensorProto.FLOAT, [], [0.1]),
        helper.make_tensor("zero", TensorProto.UINT8, [], [128]),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], name="dq"),
    ]
    form = (TensorProto.FLOAT, [2, 4])
    error = refused(models.model(nodes, {"x": form}, {"y": form}, weights), tmp_path)
    assert str(error).startswith(
        "TensorRT-RTX cannot take node 'q' (QuantizeLinear): Non-zero zero point is not supported"
    )
    assert "scheme: s8-symmetric" in (error.hint or "")


@pytest.mark.parametrize(
    ("proto", "message", "hint"),
    [
        (models.one_op("Foo"), "node 'strange' (Foo): it has no such operator", "plain ONNX export"),
        (models.one_op("BiasGelu", domain="com.microsoft"), "node 'strange' (BiasGelu)", "ONNX Runtime's own domain"),
        (models.one_op("Det", shape=(4, 4)), "node 'strange' (Det): unsupported", ""),
    ],
)
def test_operators_it_lacks(proto: onnx.ModelProto, message: str, hint: str, tmp_path: Path) -> None:
    error = refused(proto, tmp_path)
    assert f"TensorRT-RTX cannot take {message}" in str(error)
    assert hint in (error.hint or "")


def test_a_type_error_names_the_node(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["a", "b"], ["y"], name="add")
    inputs = {"a": (TensorProto.FLOAT, [2]), "b": (TensorProto.INT64, [2])}
    error = refused(models.model([node], inputs, {"y": (TensorProto.FLOAT, None)}), tmp_path)
    assert str(error) == (
        "TensorRT-RTX cannot take node 'add' (Add): ElementWiseOperation SUM must have same input types. "
        "But they are of types Float and Int64"
    )


def test_a_file_that_is_not_onnx(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.onnx").write_bytes(b"hello")
    with pytest.raises(UserError, match=r"'model\.onnx' cannot be read as ONNX: "):
        build(tmp_path / "model", tmp_path / "out")


def test_dynamic_axes_beside_the_batch_want_a_range(tmp_path: Path) -> None:
    form = (TensorProto.FLOAT, ["batch", "seq", 4])
    proto = models.model([helper.make_node("Relu", ["x"], ["y"], name="relu")], {"x": form}, {"y": form})
    error = refused(proto, tmp_path)
    assert str(error) == "input 'x' has a dynamic axis 'seq' but the platform gives it no range"
    assert "profiles: {seq: [1, 64, 128]}" in (error.hint or "")
    node = build(tmp_path / "model", tmp_path / "by-axis", profiles={"seq": [1, 16, 32], "batch": [2, 2, 4]})
    profile = {"min": [2, 1, 4], "opt": [2, 16, 4], "max": [4, 32, 4]}
    assert description(node)["inputs"][0]["profile"] == profile
    node = build(tmp_path / "model", tmp_path / "by-input", profiles={"x": [[2, 1, 4], [2, 16, 4], [4, 32, 4]]})
    assert description(node)["inputs"][0]["profile"] == profile


def test_an_input_that_is_a_shape_takes_values(tmp_path: Path) -> None:
    node = helper.make_node("Reshape", ["a", "shape"], ["y"], name="reshape")
    inputs = {"a": (TensorProto.FLOAT, ["batch", 8]), "shape": (TensorProto.INT64, [2])}
    proto = models.model([node], inputs, {"y": (TensorProto.FLOAT, None)})
    error = refused(proto, tmp_path)
    assert "missing values for shape input tensor shape" in str(error)
    assert "give its values" in (error.hint or "")
    built = build(tmp_path / "model", tmp_path / "ok", profiles={"shape": [[8, 1], [8, 8], [8, 64]]})
    assert description(built)["inputs"][1]["profile"]["max"] == [8, 64]


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ({"bacth": [1, 2, 3]}, "no input or dynamic axis is called 'bacth'"),
        ({"batch": [4, 2, 8]}, "'batch' must be three sizes in order"),
        ({"batch": [1, 2]}, "'batch' must be three sizes in order"),
        ({"image": [[1, 1, 8, 8], [2, 1, 8, 8], [4, 1, 9, 8]]}, "'image' must be three shapes"),
        ({"image": [[1, 1, 8, 8], [2, 1, 8, 8]]}, "'image' must be three shapes"),
    ],
)
def test_profiles_that_do_not_fit(
    profiles: dict[str, Any], message: str, artifacts: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        build(artifacts["fp32"], tmp_path / "out", profiles=profiles)
    assert caught.value.hint


def test_a_fixed_batch_needs_no_profile(tmp_path: Path) -> None:
    node = build(models.save(models.cnn(batch=4), tmp_path / "model"), tmp_path / "out")
    assert description(node)["inputs"] == [{"name": "image", "shape": [4, 1, 8, 8], "dtype": "float32"}]


def test_flags(artifacts: dict[str, Path], tmp_path: Path) -> None:
    more = {"flags": ("sparse-weights", "no-tf32"), "workspace": 1 << 28, "optimization_level": 2}
    assert (build(artifacts["fp32"], tmp_path / "ok", **more).out / "model.engine").is_file()
    with pytest.raises(UserError, match="has no builder flag 'int8'") as caught:
        build(artifacts["fp32"], tmp_path / "unknown", flags=("int8",))
    assert "sparse-weights" in (caught.value.hint or "")
    with pytest.raises(UserError, match="cannot build the engine: ") as caught:
        build(artifacts["fp32"], tmp_path / "failing", flags=("version-compatible",))
    assert caught.value.hint == "the platform's builder flags may be the cause: version-compatible"
    assert not (tmp_path / "failing" / "model.engine").exists()


def test_library_lines_go_to_the_node_log(
    artifacts: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UserError):
        build(artifacts["u8-affine"], tmp_path / "out")
    levels = {record.levelname for record in caplog.records if record.name == "cbuild"}
    assert {"WARNING", "ERROR"} <= levels


def test_a_damaged_engine_is_not_valid(artifacts: dict[str, Path], tmp_path: Path) -> None:
    out = build(artifacts["fp32"], tmp_path / "out").out
    with (out / "model.engine").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(ValueError, match="cut off"):
        validate(out)


def test_settings_as_a_compressfile_writes_them() -> None:
    found = msgspec.convert(
        {"compute-capability": ["sm86", "sm89"], "profiles": {"batch": [1, 8, 64]}, "optimization-level": 3},
        TensorRTRTXSettings,
    )
    assert found.compute_capability == ["sm86", "sm89"]
    with pytest.raises(msgspec.ValidationError, match="missing required field `compute-capability`"):
        msgspec.convert({}, TensorRTRTXSettings)
