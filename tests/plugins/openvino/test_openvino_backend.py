from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx_models as models
import onnxruntime
import pytest
from cbuild_openvino.artifact import validate
from cbuild_openvino.manifest import compressbuild_backends, compressbuild_kinds
from cbuild_openvino.runner import load
from cbuild_openvino.settings import OpenVinoSettings
from onnx import TensorProto, helper, numpy_helper

from compressbuild.api import ModelInput, Parity, Runner, UserError
from compressbuild.api.testing import NodeRun, make_context, run_node

COMPILE = "cbuild_openvino.compile:compile"
DEFAULT = OpenVinoSettings()


def compiled(artifact: Path, out: Path, settings: OpenVinoSettings = DEFAULT, kind: str = "onnx") -> NodeRun:
    return run_node(COMPILE, artifact, settings, out, kind=kind)


def runner_of(artifact: Path, tmp_path: Path, settings: OpenVinoSettings | None = None) -> Any:
    return load(make_context(tmp_path / "ctx"), artifact, settings)


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save(models.cnn(), tmp_path_factory.mktemp("ov") / "fp32")


@pytest.fixture(scope="module")
def int8(fp32: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.quantized(fp32, tmp_path_factory.mktemp("ov") / "int8", "u8-affine")


@pytest.mark.parametrize("form", ["fp32", "half", "int8"])
def test_compiles_and_computes_the_same(form: str, fp32: Path, int8: Path, tmp_path: Path) -> None:
    source = {"fp32": fp32, "int8": int8}.get(form) or models.save(models.half(models.cnn()), tmp_path / "half")
    node = compiled(source, tmp_path / "out")
    assert sorted(path.name for path in node.out.iterdir()) == ["model.bin", "model.xml"]
    validate(node.out)
    assert (node.facts["device"], node.facts["precision"], node.facts["threads"]) == ("CPU", "f32", 1)
    assert node.facts["sqnr_db"] > 30
    runner = runner_of(node.out, tmp_path)
    assert isinstance(runner, Runner)
    dtype = "float16" if form == "half" else "float32"
    assert runner.inputs == (ModelInput("image", ("batch", 1, 8, 8), dtype),)
    x = models.images(5).astype(dtype)
    session = onnxruntime.InferenceSession(str(source / "model.onnx"), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"image": x})
    found = runner({"image": x})
    assert list(found) == ["logits"]
    np.testing.assert_allclose(found["logits"], wanted, rtol=0.05, atol=0.05 * np.abs(wanted).max())


def test_results_outlive_the_next_run(fp32: Path, tmp_path: Path) -> None:
    runner = runner_of(compiled(fp32, tmp_path / "out").out, tmp_path)
    first = runner({"image": models.images(3, seed=1)})["logits"]
    before = first.copy()
    runner({"image": models.images(3, seed=2)})
    np.testing.assert_array_equal(first, before)


def test_names_and_order_of_inputs_outputs_and_axes_survive(tmp_path: Path) -> None:
    proto = models.model(
        [
            helper.make_node("MatMul", ["tokens", "w"], ["z_last"], name="mm"),
            helper.make_node("Add", ["z_last", "mask"], ["a_first"], name="add"),
            helper.make_node("Identity", ["a_first"], ["same"], name="id"),
        ],
        {"tokens": (TensorProto.FLOAT, ["batch", "length", 4]), "mask": (TensorProto.FLOAT, ["batch", "length", 1])},
        {
            "z_last": (TensorProto.FLOAT, ["batch", "length", 3]),
            "same": (TensorProto.FLOAT, ["batch", "length", 3]),
            "a_first": (TensorProto.FLOAT, ["batch", "length", 3]),
        },
        [numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "w")],
    )
    runner = runner_of(compiled(models.save(proto, tmp_path / "m"), tmp_path / "out").out, tmp_path)
    assert runner.inputs == (
        ModelInput("tokens", ("batch", "length", 4), "float32"),
        ModelInput("mask", ("batch", "length", 1), "float32"),
    )
    found = runner({"tokens": np.ones((2, 5, 4), np.float32), "mask": np.full((2, 5, 1), 7, np.float32)})
    assert list(found) == ["z_last", "same", "a_first"]
    np.testing.assert_allclose(found["same"], found["z_last"] + 7)
    np.testing.assert_allclose(found["same"], found["a_first"])


def test_compressed_weights_take_half_the_room(tmp_path: Path) -> None:
    source = models.save(models.cnn(channels=64), tmp_path / "m")
    plain = compiled(source, tmp_path / "a")
    half = compiled(source, tmp_path / "b", OpenVinoSettings(compress_to_fp16=True))
    sizes = [(node.out / "model.bin").stat().st_size for node in (plain, half)]
    assert sizes[1] < 0.55 * sizes[0]
    assert (plain.facts["parity"]["precision"], half.facts["parity"]["precision"]) == ("fp32", "fp16")
    assert half.facts["sqnr_db"] < plain.facts["sqnr_db"]


def test_an_ir_is_compiled_again(fp32: Path, tmp_path: Path) -> None:
    """What a technique of OpenVINO's made, or another target's result."""
    first = compiled(fp32, tmp_path / "first").out
    node = compiled(first, tmp_path / "second", OpenVinoSettings(compress_to_fp16=True), kind="openvino-ir")
    assert node.facts["parity"]["precision"] == "fp16"
    assert runner_of(node.out, tmp_path).inputs == (ModelInput("image", ("batch", 1, 8, 8), "float32"),)


def test_parity_beyond_its_tolerance_fails(fp32: Path, tmp_path: Path) -> None:
    """bfloat16 arithmetic under the limits of float32, where the processor has it; compressed weights elsewhere."""
    strict = OpenVinoSettings(compress_to_fp16=True, parity=Parity(sqnr_db=120))
    with pytest.raises(UserError, match=r"parity: output 'logits' of OpenVINO .*SQNR .* dB \(at least 120\)"):
        compiled(fp32, tmp_path / "out", strict)


def test_a_device_that_is_not_there(fp32: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"OpenVINO has no device 'NPU' here; it has: .*CPU"):
        compiled(fp32, tmp_path / "out", OpenVinoSettings(device="NPU"))


def test_an_arithmetic_that_is_not_there(fp32: Path, tmp_path: Path) -> None:
    import openvino

    if "FP16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor computes in float16")
    with pytest.raises(UserError, match="asked for f16, but OpenVINO computes this model in"):
        compiled(fp32, tmp_path / "out", OpenVinoSettings(inference_precision="f16"))


@pytest.mark.parametrize(
    "proto", [models.one_op("Foo"), models.one_op("Foo", domain="my.ops")], ids=["no such operator", "own domain"]
)
def test_a_model_it_cannot_take_is_one_line(proto: onnx.ModelProto, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        compiled(models.save(proto, tmp_path / "m"), tmp_path / "out")
    message = str(caught.value)
    assert message.startswith("OpenVINO cannot read the model: ")
    assert "Foo" in message
    assert "\n" not in message
    assert str(tmp_path) not in message
    assert caught.value.hint


def test_a_file_that_is_not_onnx(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.onnx").write_bytes(b"hello")
    with pytest.raises(UserError, match=r"'model.onnx' cannot be read as ONNX"):
        compiled(tmp_path / "m", tmp_path / "out")


def test_validate_refuses_damage(fp32: Path, tmp_path: Path) -> None:
    out = compiled(fp32, tmp_path / "out").out
    text = (out / "model.xml").read_text()
    (out / "model.xml").write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match="OpenVINO cannot read the model"):
        validate(out)


def test_wrong_feeds_are_one_line(fp32: Path, tmp_path: Path) -> None:
    runner = runner_of(compiled(fp32, tmp_path / "out").out, tmp_path)
    for feeds in ({"image": np.zeros((1, 1, 9, 8), np.float32)}, {"image": np.zeros((1, 1, 8, 8))}, {}):
        with pytest.raises(UserError, match="the OpenVINO model cannot be run: ") as caught:
            runner(feeds)
        assert "\n" not in str(caught.value)


def test_external_data(tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.mkdir()
    onnx.save(
        models.cnn(channels=32), str(source / "model.onnx"), save_as_external_data=True, location="model.onnx.data"
    )
    assert compiled(source, tmp_path / "out").facts["sqnr_db"] > 100


def test_settings_refuse_what_they_do_not_know() -> None:
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'fp32'"):
        msgspec.convert({"inference-precision": "fp32"}, OpenVinoSettings)


def test_records() -> None:
    (backend,) = compressbuild_backends()
    (kind,) = compressbuild_kinds()
    assert (backend.qdq_scheme, backend.produces, backend.nondeterministic) == ("u8-affine", kind.name, "")
