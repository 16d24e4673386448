from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnx_models as models
import onnxruntime
import pytest
from cbuild_onnxruntime.artifact import validate
from cbuild_onnxruntime.manifest import compressbuild_backends, compressbuild_kinds
from cbuild_onnxruntime.runner import SessionRunner, load
from cbuild_onnxruntime.session import open_session
from cbuild_onnxruntime.settings import OnnxRuntimeSettings

from compressbuild.api import ModelInput, Runner, UserError, WorkInput
from compressbuild.api.testing import make_context, run_node

COMPILE = "cbuild_onnxruntime.compile:compile"


def reference(artifact: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(artifact / "model.onnx"), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": x})[0]


def op_types(artifact: Path) -> set[str]:
    return {node.op_type for node in onnx.load(str(artifact / "model.onnx")).graph.node}


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save(models.cnn(), tmp_path_factory.mktemp("ort") / "fp32")


@pytest.fixture(scope="module")
def int8(fp32: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.quantized(fp32, tmp_path_factory.mktemp("ort") / "int8", "u8-affine")


def test_compiles_an_optimised_graph_that_computes_the_same(fp32: Path, tmp_path: Path) -> None:
    node = run_node(COMPILE, fp32, OnnxRuntimeSettings(), tmp_path / "out")
    assert "FusedConv" in op_types(node.out)
    assert node.facts["provider"] == "CPUExecutionProvider"
    assert node.facts["nodes"] < len(onnx.load(str(fp32 / "model.onnx")).graph.node)
    x = models.images(5)
    runner = load(make_context(tmp_path / "ctx"), node.out, OnnxRuntimeSettings())
    np.testing.assert_allclose(runner({"image": x})["logits"], reference(fp32, x), rtol=1e-4, atol=1e-5)


def test_int8_convolutions_are_fused(int8: Path, tmp_path: Path) -> None:
    out = run_node(COMPILE, int8, OnnxRuntimeSettings(), tmp_path / "out").out
    convs = [n.op_type for n in onnx.load(str(out / "model.onnx")).graph.node if "Conv" in n.op_type]
    assert convs == ["QLinearConv"] * 5


def test_saved_graph_has_no_layout_of_this_processor(fp32: Path, tmp_path: Path) -> None:
    out = run_node(COMPILE, fp32, OnnxRuntimeSettings(optimization="all"), tmp_path / "out").out
    assert not any("nchwc" in node.domain for node in onnx.load(str(out / "model.onnx")).graph.node)


def test_optimization_levels(fp32: Path, tmp_path: Path) -> None:
    disabled = run_node(COMPILE, fp32, OnnxRuntimeSettings(optimization="disabled"), tmp_path / "a").out
    assert "FusedConv" not in op_types(disabled)
    plain = run_node(COMPILE, fp32, OnnxRuntimeSettings(save_optimized=False), tmp_path / "b").out
    assert (plain / "model.onnx").read_bytes() == (fp32 / "model.onnx").read_bytes()


def test_external_data_stays_external(tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.mkdir()
    onnx.save(
        models.cnn(channels=32), str(source / "model.onnx"), save_as_external_data=True, location="model.onnx.data"
    )
    out = run_node(COMPILE, source, OnnxRuntimeSettings(), tmp_path / "out").out
    assert (out / "model.onnx.data").stat().st_size > (out / "model.onnx").stat().st_size
    x = models.images(2)
    runner = load(make_context(tmp_path / "ctx"), out, None)
    np.testing.assert_allclose(runner({"image": x})["logits"], reference(source, x), rtol=1e-4, atol=1e-5)


def test_runner_describes_itself(fp32: Path, tmp_path: Path) -> None:
    runner = load(make_context(tmp_path / "ctx"), fp32, OnnxRuntimeSettings(threads=2))
    assert isinstance(runner, Runner)
    assert runner.inputs == (ModelInput("image", ("batch", 1, 8, 8), "float32"),)
    assert runner.describe() == {
        "runtime": "onnxruntime",
        "version": onnxruntime.__version__,
        "provider": "CPUExecutionProvider",
        "threads": 2,
        "optimization": "all",
    }


def test_runner_through_the_context_takes_platform_settings(fp32: Path, tmp_path: Path) -> None:
    backend = next(iter(compressbuild_backends()))
    entry = WorkInput(
        path=str(fp32),
        kind=backend.produces,
        load=backend.load,
        settings={"threads": 1, "save-optimized": False, "optimization": "basic"},
        settings_type="cbuild_onnxruntime.settings:OnnxRuntimeSettings",
    )
    runner = make_context(tmp_path / "ctx", subject=entry).runner("subject")
    assert runner.describe()["optimization"] == "basic"


def test_float16_and_integer_inputs_keep_their_types(tmp_path: Path) -> None:
    runner = load(make_context(tmp_path / "ctx"), models.save(models.half(models.cnn(3)), tmp_path / "m"), None)
    assert runner.inputs == (ModelInput("image", (3, 1, 8, 8), "float16"),)
    assert runner({"image": models.images(3).astype(np.float16)})["logits"].dtype == np.float16


@pytest.mark.parametrize(
    ("proto", "expected", "hint"),
    [
        (models.one_op("Foo"), "No Op registered for Foo with domain_version of 17", "another opset"),
        (models.one_op("Foo", domain="my.ops"), "my.ops:Foo(-1) is not a registered function/op", "own domain"),
        (models.one_op("Conv"), "Node(strange)", None),
    ],
)
def test_a_model_it_cannot_take_is_one_line(
    proto: onnx.ModelProto, expected: str, hint: str | None, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        run_node(COMPILE, models.save(proto, tmp_path / "m"), OnnxRuntimeSettings(), tmp_path / "out")
    message = str(caught.value)
    assert message.startswith("ONNX Runtime cannot load the model: ")
    assert expected in message
    assert "\n" not in message
    assert str(tmp_path) not in message
    assert (hint or "") in (caught.value.hint or "")


def test_a_file_that_is_not_onnx(tmp_path: Path) -> None:
    directory = tmp_path / "m"
    directory.mkdir()
    (directory / "model.onnx").write_bytes(b"hello")
    with pytest.raises(UserError, match=r"'model.onnx' cannot be read as ONNX: "):
        run_node(COMPILE, directory, OnnxRuntimeSettings(), tmp_path / "out")
    with pytest.raises(ValueError, match="not an ONNX model"):
        validate(directory)


def test_validate_accepts_what_compile_made(fp32: Path, tmp_path: Path) -> None:
    validate(run_node(COMPILE, fp32, OnnxRuntimeSettings(), tmp_path / "out").out)


def test_no_model_in_the_artifact(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(UserError, match=r"has 0 \.onnx files"):
        run_node(COMPILE, tmp_path / "m", OnnxRuntimeSettings(), tmp_path / "out")


def test_a_provider_that_is_not_there(fp32: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no CUDAExecutionProvider; it has: cpu") as caught:
        run_node(COMPILE, fp32, OnnxRuntimeSettings(provider="cuda"), tmp_path / "out")
    assert caught.value.hint == "install onnxruntime-gpu instead of onnxruntime"


def test_a_silent_fallback_is_an_error(fp32: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A GPU build without its driver lists the provider and then runs on the CPU; so does this build when asked so.
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    with pytest.warns(UserWarning, match="not in available provider names"), pytest.raises(UserError) as caught:
        open_session(fp32 / "model.onnx", OnnxRuntimeSettings(provider="cuda", cpu_fallback=True))
    assert (
        str(caught.value) == "asked for CUDAExecutionProvider, but ONNX Runtime runs this model on CPUExecutionProvider"
    )


def test_wrong_feeds_are_one_line(fp32: Path, tmp_path: Path) -> None:
    runner = load(make_context(tmp_path / "ctx"), fp32, None)
    assert isinstance(runner, SessionRunner)
    for feeds in ({"image": np.zeros((1, 1, 9, 8), np.float32)}, {"image": np.zeros((1, 1, 8, 8))}, {}):
        with pytest.raises(UserError, match="cannot run the model: ") as caught:
            runner(feeds)
        assert "\n" not in str(caught.value)


def test_settings_refuse_what_they_do_not_know() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `thread`"):
        msgspec.convert({"thread": 2}, OnnxRuntimeSettings)
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'gpu'"):
        msgspec.convert({"provider": "gpu"}, OnnxRuntimeSettings)


def test_records() -> None:
    backend = next(record for record in compressbuild_backends() if record.name == "onnxruntime")
    kind = next(record for record in compressbuild_kinds() if record.name == "onnxruntime-model")
    assert (backend.qdq_scheme, backend.produces, backend.nondeterministic) == ("u8-affine", kind.name, "")
    assert "cpu.isa" in backend.compile_facts
