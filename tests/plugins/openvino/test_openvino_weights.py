"""Models whose weights are in memory once while OpenVINO copies them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_models as models
import pytest
from cbuild_openvino import artifact, compile, runner, weights
from cbuild_openvino.settings import OpenVinoSettings
from cbuild_openvino.weights import Weights

from compressbuild.api import Parity, UserError
from compressbuild.api.testing import run_node

COMPILE = "cbuild_openvino.compile:compile"
PEAK = """
import json, pathlib, sys
from cbuild_openvino import weights
from cbuild_openvino.settings import OpenVinoSettings
from compressbuild.api.testing import run_node

def resident(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])

def compile(subject, out, kind):
    return run_node("cbuild_openvino.compile:compile", subject, OpenVinoSettings(), out, kind=kind)

weights.LARGE = 1_000_000
small, subject, out = map(pathlib.Path, sys.argv[1:4])
compile(small, out / "small", "onnx")  # loads the libraries
before = resident("VmRSS")
node = compile(subject, out / "large", sys.argv[4])
print(json.dumps({"peak": resident("VmHWM") - before, **node.facts}))
"""


@pytest.mark.parametrize(("kind", "relu"), [("onnx", True), ("onnx", False), ("openvino-ir", True)])
def test_the_check_of_large_weights_has_them_in_memory_once(
    kind: str, relu: bool, python: Callable[..., str], tmp_path: Path
) -> None:
    """OpenVINO alone has them three times (with ``relu`` it copies them for both sizes of a batch), or twice. Besides
    the weights there are some matrices."""
    small, subject = tmp_path / "small", tmp_path / "subject"
    models.chain(small, width=1024, layers=1, relu=True)
    size = models.chain(subject, width=1024, layers=48, relu=relu)
    if kind == "openvino-ir":
        source, subject = subject, tmp_path / "ir"
        subject.mkdir()
        artifact.write(artifact.read_onnx(source / "model.onnx", tmp_path), subject)
    found = json.loads(python("-c", PEAK, small, subject, tmp_path / "out", kind, cwd=tmp_path))
    assert found["parity"]["cases"] == ["random batch=3", "random batch=1", "random batch=16", "zeros"]
    assert found["sqnr_db"] > 50
    assert found["peak"] < 1.5 * size, found["peak"] / size


@pytest.fixture
def any_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "LARGE", 1)


def test_which_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Weights.worthwhile(tmp_path)  # without a file of weights
    (tmp_path / "model.bin").write_bytes(b"1234")
    assert not Weights.worthwhile(tmp_path)
    monkeypatch.setattr(weights, "LARGE", 4)
    assert Weights.worthwhile(tmp_path)
    monkeypatch.delattr("mmap.MADV_DONTNEED")  # Windows
    assert not Weights.worthwhile(tmp_path)


@pytest.mark.parametrize("form", ["fp32", "half", "int8", "compressed"])
def test_the_results_are_those_of_any_run(form: str, tmp_path: Path) -> None:
    proto = models.cnn(channels=64)
    source = models.save(models.half(proto) if form == "half" else proto, tmp_path / "source")
    if form == "int8":
        source = models.quantized(source, tmp_path / "int8", "u8-affine")
    settings = OpenVinoSettings(compress_to_fp16=form == "compressed")
    made = run_node(COMPILE, source, settings, tmp_path / "out", kind="onnx").out
    plain = runner.OpenVinoRunner(artifact.read(made), settings)
    thrifty = runner.ThriftyRunner(Weights(made), settings)
    assert thrifty.inputs == plain.inputs
    assert thrifty.describe() == plain.describe()
    for count in (1, 16, 5, 1):
        feeds = {"image": models.images(count, seed=count).astype(plain.inputs[0].dtype)}
        np.testing.assert_array_equal(thrifty(feeds)["logits"], plain(feeds)["logits"])


@pytest.mark.usefixtures("any_is_large")
def test_what_is_published_is_what_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = models.save(models.cnn(), tmp_path / "source")

    def write(model: object, directory: Path, *, compress_to_fp16: bool) -> None:
        artifact.write(model, directory, compress_to_fp16=compress_to_fp16)
        stored = np.fromfile(directory / "model.bin", np.float32)
        stored[len(stored) // 2 :] *= 2
        stored.tofile(directory / "model.bin")

    monkeypatch.setattr(compile, "write", write)
    with pytest.raises(UserError, match="output 'logits' of OpenVINO is not what its source computes"):
        run_node(COMPILE, source, OpenVinoSettings(), tmp_path / "out", kind="onnx")


@pytest.mark.usefixtures("any_is_large")
def test_an_ir_is_compared_with_its_source(tmp_path: Path) -> None:
    source = models.save(models.cnn(), tmp_path / "source")
    made = run_node(COMPILE, source, OpenVinoSettings(), tmp_path / "ir", kind="onnx").out
    half = OpenVinoSettings(compress_to_fp16=True)
    assert run_node(COMPILE, made, half, tmp_path / "half", kind="openvino-ir").facts["parity"]["precision"] == "fp16"
    strict = OpenVinoSettings(compress_to_fp16=True, parity=Parity(sqnr_db=120))
    with pytest.raises(UserError, match=r"parity: output 'logits' of OpenVINO .*SQNR .* dB \(at least 120\)"):
        run_node(COMPILE, made, strict, tmp_path / "strict", kind="openvino-ir")


@pytest.mark.usefixtures("any_is_large")
def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_text("<net")
    (tmp_path / "model.bin").write_bytes(bytes(8))
    with pytest.raises(UserError, match="OpenVINO cannot read the model: "):
        runner.ThriftyRunner(Weights(tmp_path), OpenVinoSettings())
