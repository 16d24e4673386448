"""A weight that embedding and head share, in OpenVINO: compressed once and stored once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import digits
import numpy as np
import openvino
import pytest
import tied_models
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeStatic, QuantizeWeights
from cbuild_openvino.artifact import read
from cbuild_openvino.quantize.params import OpenVinoCompress
from cbuild_openvino.settings import OpenVinoSettings
from processor import NARROW

from compressbuild.api import UserError
from compressbuild.api.testing import run_node

COMPRESS = "cbuild_openvino.quantize.compress:compress"
NUMBERS = tied_models.WIDTH * (tied_models.ROWS + tied_models.WIDTH)


def large(directory: Path) -> int:
    return (directory / "model.bin").stat().st_size


def answer(directory: Path, ids: np.ndarray) -> np.ndarray:
    model = openvino.compile_model(read(directory), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(model({"ids": ids})[0])


@pytest.mark.parametrize("form", ["transpose", "gemm", "copy"])
def test_compressed_once(tmp_path: Path, form: tied_models.Form) -> None:
    subject = tied_models.tied(tmp_path / "tied", form)
    generator = np.random.default_rng(3)
    ids = generator.integers(0, tied_models.ROWS, (2, 5))
    layer = np.random.default_rng(1).standard_normal((tied_models.WIDTH,) * 2).astype(np.float32) / 6
    table = tied_models.table().astype(float)
    wanted = np.tanh(table[ids] @ layer) @ table.T
    for bits, least, params in (
        (8, 30, OpenVinoCompress()),
        (4, 12, OpenVinoCompress(mode="int4-sym", group_size=16, all_layers=True)),
    ):
        node = digits.apply(COMPRESS, subject, params, tmp_path / f"{bits}")
        assert node.facts[f"weights_{bits}_bit"] == NUMBERS
        assert node.facts["quantized_share"] == 1
        noise = answer(node.out, ids) - wanted
        ratio = 10 * np.log10(np.mean(wanted**2) / np.mean(noise**2))
        assert ratio > least
        assert node.facts["sqnr_db"]["scores"] == pytest.approx(ratio, abs=3)
        assert ("concern" in node.facts) == (node.facts["sqnr_db"]["scores"] < 20)


def test_a_compression_that_makes_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nncf

    def broken(model: Any, **options: Any) -> Any:
        for node in model.get_ops():
            if node.get_friendly_name() == "embedding":
                rows = np.ascontiguousarray(node.data[::-1])
                node.output(0).replace(openvino.op.Constant(rows).output(0))
        return genuine(model, **options)

    genuine = nncf.compress_weights
    monkeypatch.setattr(nncf, "compress_weights", broken)
    subject = tied_models.tied(tmp_path / "tied", "transpose")
    with pytest.raises(UserError, match=r"openvino\.compress damaged the model"):
        digits.apply(COMPRESS, subject, OpenVinoCompress(), tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "params", "width"),
    [
        ("weights", QuantizeWeights(bits=4), 0.5),
        ("weights", QuantizeWeights(bits=8), 1),
        ("weights", QuantizeWeights(bits=4, format="qdq"), 0.5),
        ("dynamic", QuantizeDynamic(weights="uint8"), 1),
        ("static", QuantizeStatic(data="ids", scheme="u8-affine", reduce_range=NARROW), 1),
        ("static", QuantizeStatic(data="ids", scheme="s8-symmetric", reduce_range=NARROW), 1),
    ],
)
def test_what_the_onnx_quantizers_share_stays_one(tmp_path: Path, name: str, params: Any, width: float) -> None:
    subject = tied_models.tied(tmp_path / "tied", "transpose", width=64)
    run = f"cbuild_onnx.quantize.{name}:quantize"
    made = digits.apply(run, subject, params, tmp_path / "made", datasets={"ids": "tied_models:samples"}).out
    node = run_node("cbuild_openvino.compile:compile", made, OpenVinoSettings(), tmp_path / "compiled")
    numbers = 64 * (tied_models.ROWS + 64)
    assert large(node.out) < numbers * width + 10 * (tied_models.ROWS + 64) + 600
    assert node.facts["sqnr_db"] > 30
