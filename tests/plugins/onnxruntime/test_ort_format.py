from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models as models
import onnxruntime
import pytest
from cbuild_onnxruntime.artifact import validate_flat
from cbuild_onnxruntime.flat import load
from cbuild_onnxruntime.manifest import compressbuild_backends
from cbuild_onnxruntime.settings import OrtFormatSettings
from command import Work

from compressbuild.api import ModelInput, Parity, Runner, UserError
from compressbuild.api.testing import NodeRun, make_context, run_node

DEFAULT = OrtFormatSettings()


def compiled(artifact: Path, out: Path, settings: OrtFormatSettings = DEFAULT) -> NodeRun:
    return run_node("cbuild_onnxruntime.flat:compile", artifact, settings, out, kind="onnx")


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save(models.cnn(), tmp_path_factory.mktemp("ort") / "fp32")


@pytest.mark.parametrize("form", ["fp32", "int8"])
def test_it_is_written_loaded_and_computes_the_same(form: str, fp32: Path, tmp_path: Path) -> None:
    source = fp32 if form == "fp32" else models.quantized(fp32, tmp_path / "int8", "u8-affine")
    node = compiled(source, tmp_path / "out")
    assert [path.name for path in node.out.iterdir()] == ["model.ort"]
    assert (node.out / "model.ort").read_bytes()[4:8] == b"ORTM"
    validate_flat(node.out)
    assert node.facts["sqnr_db"] > 30
    runner = load(make_context(tmp_path / "ctx"), node.out, None)
    assert isinstance(runner, Runner)
    assert runner.inputs == (ModelInput("image", ("batch", 1, 8, 8), "float32"),)
    x = models.images(5)
    session = onnxruntime.InferenceSession(str(source / "model.onnx"), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"image": x})
    np.testing.assert_allclose(runner({"image": x})["logits"], wanted, rtol=0.05, atol=0.05 * np.abs(wanted).max())


def test_it_is_optimised_before_it_is_written(fp32: Path, tmp_path: Path) -> None:
    """The format has no optimiser: what is fused must be fused already."""

    def operators(optimization: str) -> bytes:
        settings = OrtFormatSettings(optimization=optimization)
        return (compiled(fp32, tmp_path / optimization, settings).out / "model.ort").read_bytes()

    assert b"FusedConv" in operators("extended")
    assert b"FusedConv" not in operators("basic")


def test_parity_beyond_its_tolerance_fails(fp32: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="parity: output 'logits' of ONNX Runtime"):
        compiled(fp32, tmp_path / "out", OrtFormatSettings(parity=Parity(sqnr_db=500)))


def test_validate_refuses_another_format(fp32: Path, tmp_path: Path) -> None:
    for content in ((fp32 / "model.onnx").read_bytes(), b""):
        (tmp_path / "model.ort").write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.ort is not an ONNX Runtime flatbuffer"):
            validate_flat(tmp_path)


def test_its_bytes_are_declared_to_differ() -> None:
    reasons = {backend.name: backend.nondeterministic for backend in compressbuild_backends()}
    assert reasons["onnxruntime"] == ""
    assert "hash" in reasons["onnxruntime-ort"]


def test_published_by_the_command(tmp_path: Path) -> None:
    work = Work(tmp_path / "project")
    models.save(models.cnn(), work.root)
    work.write(
        "Compressfile",
        """
version: 1
models: {net: {file: model.onnx}}
platforms: {mobile: {backend: onnxruntime-ort}}
evaluate: {metrics: [{latency: {batch: 4, seconds: 0.05}}, size]}
targets: {flat: {from: net, platform: mobile}}
""",
    )
    flat = work.json("flat").targets["flat"]
    assert flat.status == "published"
    assert flat.metrics["latency"] > 0
    assert (work.root / "build/flat/model.ort").is_file()
    assert "1 checked, 0 bad" in work("verify").out
