"""Tables of embeddings that no product shares have quantized rows, and lookups dequantize only those that they take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cbuild_onnx.model import files
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeWeights
from cbuild_onnxruntime.settings import OnnxRuntimeSettings
from lookup_models import PLACES, ROWS, WIDTH, encoder
from onnx import TensorProto, helper

from compressbuild.api import UserError
from compressbuild.api.testing import run_node

WEIGHTS = "cbuild_onnx.quantize.weights:quantize"
COMPILE = "cbuild_onnxruntime.compile:compile"


def answers(directory: Path, ids: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(directory / "model.onnx"), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"ids": ids})[0]
    return found


def floats(directory: Path) -> set[str]:
    """Constants of two dimensions or more that are still float."""
    model = onnx.load(directory / "model.onnx")
    return {t.name for t in model.graph.initializer if len(t.dims) > 1 and t.data_type == TensorProto.FLOAT}


IDS = np.random.default_rng(5).integers(0, ROWS, (16, 7))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    ("bits", "form", "least"), [(8, "nbits", 38), (4, "nbits", 12), (8, "qdq", 38), (4, "qdq", 12)]
)
def test_lookups_take_quantized_rows(
    technique: Callable[..., Any], tmp_path: Path, bits: Any, form: Any, least: float, symmetric: bool
) -> None:
    subject = encoder(tmp_path / "encoder")
    params = QuantizeWeights(bits=bits, format=form, symmetric=symmetric, op_types=("Gather",))
    node = technique(WEIGHTS, subject, params)
    assert node.facts["layers"] == 2
    left = floats(node.out)
    assert "layer" in left
    assert not {"words", "places"} & left
    wanted = answers(subject, IDS)
    compiled = run_node(COMPILE, node.out, OnnxRuntimeSettings(), tmp_path / "compiled").out
    for directory in (node.out, compiled):
        noise = answers(directory, IDS) - wanted
        assert 10 * np.log10(np.mean(wanted**2) / np.mean(noise**2)) > least - 3 * symmetric
    stored = onnx.load(node.out / "model.onnx").graph.initializer
    values = sum(files.data_bytes(t) or 0 for t in stored if t.name.endswith("/values"))
    assert values == (ROWS + PLACES) * (64 if form == "nbits" else WIDTH) * bits // 8


def test_products_and_lookups_together_and_not_what_is_excluded(technique: Callable[..., Any], tmp_path: Path) -> None:
    subject = encoder(tmp_path / "encoder")
    everything = QuantizeWeights(bits=8, op_types=("MatMul", "Gather"))
    assert technique(WEIGHTS, subject, everything).facts["layers"] == 3
    kept = QuantizeWeights(bits=8, op_types=("MatMul", "Gather"), exclude=("position",))
    made = technique(WEIGHTS, subject, kept)
    assert made.facts["layers"] == 2
    assert "places" in floats(made.out)
    assert "words" not in floats(made.out)


def test_a_table_that_something_else_reads_stays_as_it_is(technique: Callable[..., Any], tmp_path: Path) -> None:
    """Its floats would stay in the file, beside the integers."""
    subject = encoder(tmp_path / "encoder")
    model = onnx.load(subject / "model.onnx")
    model.graph.node.append(helper.make_node("ReduceMean", ["words"], ["mean"], "mean", keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, []))
    onnx.save(model, subject / "model.onnx")
    made = technique(WEIGHTS, subject, QuantizeWeights(bits=8, op_types=("Gather",)))
    assert made.facts["layers"] == 1
    assert "words" in floats(made.out)


def test_behind_another_quantizer(technique: Callable[..., Any], tmp_path: Path) -> None:
    """``quantize.dynamic`` leaves the words in float, and folds the places, whose lookup is constant. A second step."""
    subject = encoder(tmp_path / "encoder")
    dynamic = technique("cbuild_onnx.quantize.dynamic:quantize", subject, QuantizeDynamic(weights="uint8"))
    assert "words" in floats(dynamic.out)
    both = technique(WEIGHTS, dynamic.out, QuantizeWeights(bits=8, op_types=("Gather",)))
    assert both.facts["layers"] == 1
    assert "words" not in floats(both.out)
    wanted, found = answers(dynamic.out, IDS), answers(both.out, IDS)
    assert 0 < np.abs(found - wanted).mean() < 0.03 * np.abs(wanted).mean()


def test_a_model_without_lookups_is_refused(technique: Callable[..., Any], mlp: Path) -> None:
    with pytest.raises(UserError, match="the model has no Gather"):
        technique(WEIGHTS, mlp, QuantizeWeights(bits=8, op_types=("Gather",)))
