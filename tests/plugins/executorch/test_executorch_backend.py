from __future__ import annotations

from pathlib import Path

import digits as digits_example
import msgspec
import numpy as np
import pytest
import unlowerable_models
from cbuild_executorch.artifact import validate
from cbuild_executorch.manifest import compressbuild_backends, compressbuild_kinds
from cbuild_executorch.settings import ExecuTorchSettings

from compressbuild.api import ModelInput, UserError, WorkInput
from compressbuild.api.testing import NodeRun, make_context

pytest.importorskip("executorch.runtime", reason="needs executorch: pip install 'compressbuild[executorch]'")

COMPILE = "cbuild_executorch.compile:compile"
SMALL = {"batch": [1, 4]}
INT8 = ExecuTorchSettings(precision="int8", data="calibration", sizes=SMALL)


def compiled(source: Path, settings: ExecuTorchSettings, out: Path) -> NodeRun:
    return digits_example.apply(COMPILE, source, settings, out)


def logits(artifact: Path, feeds: dict[str, np.ndarray], threads: int = 1) -> np.ndarray:
    from cbuild_executorch.runner import ProgramRunner

    runner = ProgramRunner(artifact, threads)
    images = feeds["image"]
    parts = [runner({"image": images[at : at + 4]}) for at in range(0, len(images), 4)]
    return np.concatenate([part["output"] for part in parts])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_example.source(tmp_path_factory.mktemp("et") / "source", width=8)


@pytest.fixture(scope="module")
def fp32(source: Path) -> NodeRun:
    return compiled(source, ExecuTorchSettings(sizes=SMALL), source.with_name("fp32"))


def test_float32_is_the_module(source: Path, fp32: NodeRun, tmp_path: Path) -> None:
    assert sorted(path.name for path in fp32.out.iterdir()) == ["interface.json", "model.pte"]
    validate(fp32.out)
    assert fp32.facts["delegated"] > 20
    assert set(fp32.facts["portable"]) <= {"aten.view_copy"}
    assert fp32.facts["sqnr_db"] > 80
    assert fp32.facts["parity"]["cases"] == ["random batch=4", "random batch=1", "random batch=2", "zeros"]
    feeds, _ = digits_example.held_out()
    some = {"image": feeds["image"][:10]}
    wanted = digits_example.outputs(source, some)["output"]
    np.testing.assert_allclose(logits(fp32.out, some), wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(logits(fp32.out, some, threads=2), wanted, rtol=1e-4, atol=1e-4)
    entry = WorkInput(path=str(fp32.out), kind="executorch-program", load="cbuild_executorch.runner:load")
    runner = make_context(tmp_path / "ctx", subject=entry).runner("subject")
    assert runner.inputs == (ModelInput("image", ("batch", 1, 8, 8), "float32"),)
    described = runner.describe()
    assert (described["runtime"], described["threads"]) == ("executorch", 1)
    with pytest.raises(UserError, match="the program cannot be run: ") as caught:
        runner({"image": np.zeros((5, 1, 8, 8), np.float32)})
    assert caught.value.hint == "'batch' was compiled for 1 to 4; see 'sizes:'"


def test_int8_is_quantized_and_close(source: Path, fp32: NodeRun, tmp_path: Path) -> None:
    node = compiled(source, INT8, tmp_path / "int8")
    assert (node.facts["layers"], node.facts["float_layers"]) == (9, 0)
    assert node.facts["samples"] == 100
    assert node.facts["bytes"] < 0.7 * fp32.facts["bytes"]
    assert node.facts["quantized_share"] == 1
    assert 30 < node.facts["quantization"]["sqnr_db"]["output"] < 60, "of the float module; parity's is of the program"
    assert node.facts["sqnr_db"] > 30
    assert node.facts.get("concern", "part 9").count("part 9") == 1, "the least part may be low; all weights are int8"
    feeds, _ = digits_example.held_out()
    some = {"image": feeds["image"][:40]}
    wanted, found = digits_example.outputs(source, some)["output"], logits(node.out, some)
    cosine = float((wanted * found).sum() / np.linalg.norm(wanted) / np.linalg.norm(found))
    assert 0.99 < cosine < 0.99999999, "as the float model on data, but not computed in float"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8-dynamic"])
def test_other_precisions(source: Path, precision: str, tmp_path: Path) -> None:
    node = compiled(source, ExecuTorchSettings(precision=precision, sizes={"batch": 1}), tmp_path / "out")
    assert node.facts["sqnr_db"] > 30
    assert node.facts["parity"]["cases"] == ["random batch=1", "zeros"]


def test_made_up_ids_vary_and_show_what_dynamic_ranges_lose(tmp_path: Path) -> None:
    """With every id 1, which is all that a sample of ones asks for, nothing is lost."""
    factory = "spiked_tokens:build"
    inputs = [["input_ids", ["batch", "tokens"], "int64"]]
    source = digits_example.source(tmp_path / "source", factory=factory, inputs=inputs)
    settings = ExecuTorchSettings(precision="int8-dynamic", sizes={"batch": [1, 2], "tokens": [1, 8]})
    with pytest.raises(UserError, match=r"ExecuTorch's quantizer damaged the model: the signal of output 'output'"):
        digits_example.apply(COMPILE, source, settings, tmp_path / "out", factories=(factory,))


@pytest.mark.slow
def test_the_same_bytes_twice(source: Path, tmp_path: Path) -> None:
    first = compiled(source, INT8, tmp_path / "a")
    second = compiled(source, INT8, tmp_path / "elsewhere" / "b")
    assert (first.out / "model.pte").read_bytes() == (second.out / "model.pte").read_bytes()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("singular", "linalg_svd"),
        ("running", "no operator of this model runs on XNNPACK"),
        (
            "grouped_up",
            r"cannot fold the batch normalisation '2' into '1', a transposed convolution with groups: The size of ",
        ),
    ],
)
def test_what_cannot_be_lowered_is_one_line(factory: str, message: str, tmp_path: Path) -> None:
    factory = f"{unlowerable_models.__name__}:{factory}"
    source = digits_example.source(tmp_path / "source", factory=factory)
    with pytest.raises(UserError, match=message) as caught:
        digits_example.apply(COMPILE, source, ExecuTorchSettings(), tmp_path / "out", factories=(factory,))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_validate_refuses_damage(fp32: NodeRun, tmp_path: Path) -> None:
    (tmp_path / "interface.json").write_bytes((fp32.out / "interface.json").read_bytes())
    data = (fp32.out / "model.pte").read_bytes()
    (tmp_path / "model.pte").write_bytes(data[:-100])
    with pytest.raises(ValueError, match=r"model\.pte is cut off"):
        validate(tmp_path)
    (tmp_path / "model.pte").write_bytes(b"PK" * 100)
    with pytest.raises(ValueError, match="is not an ExecuTorch program"):
        validate(tmp_path)


def test_records() -> None:
    (backend,) = compressbuild_backends()
    (kind,) = compressbuild_kinds()
    assert (backend.consumes, backend.produces) == (("torch-model",), kind.name)
    for settings, message in (
        ({"precision": "int8"}, "'precision: int8' needs 'data'"),
        ({"precision": "fp16", "data": "calib"}, "'data' is only for 'precision: int8', but the precision is fp16"),
        ({"precision": "int4"}, "Invalid enum value 'int4'"),
        ({"sizes": {"batch": [1, 2, 3]}}, "Expected `array` of length <= 2"),
    ):
        with pytest.raises(msgspec.ValidationError, match=message):
            msgspec.convert(settings, ExecuTorchSettings)
