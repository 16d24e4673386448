"""A weight that embedding and head share is quantized once and kept once, and both compute what they did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tied_models
from cbuild_onnx.graph.params import OptimizeOnnx
from cbuild_onnx.model import files
from cbuild_onnx.model.lookups import table_rows
from cbuild_onnx.model.trained import trained
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeStatic, QuantizeWeights
from cbuild_onnxruntime.settings import OnnxRuntimeSettings
from tied_models import ROWS, WIDTH, samples, tied

from compressbuild.api.testing import run_node

COMPILE = "cbuild_onnxruntime.compile:compile"
# Quantizer, parameters, bytes of a weight, least decibels.
CASES = {
    "int4": ("weights", QuantizeWeights(bits=4), 0.5, 12),
    "int4-symmetric": ("weights", QuantizeWeights(bits=4, symmetric=True), 0.5, 10),
    "int4-hqq": ("weights", QuantizeWeights(bits=4, method="hqq"), 0.5, 12),
    "int4-qdq": ("weights", QuantizeWeights(bits=4, format="qdq"), 0.5, 12),
    "int8": ("weights", QuantizeWeights(bits=8), 1, 35),
    "dynamic": ("dynamic", QuantizeDynamic(weights="int8"), 1, 28),
    "dynamic-uint8": ("dynamic", QuantizeDynamic(weights="uint8"), 1, 28),
    "dynamic-tensor": ("dynamic", QuantizeDynamic(weights="int8", per_channel=False), 1, 20),
    "static": ("static", QuantizeStatic(data="ids", scheme="u8-affine"), 1, 25),
    "static-symmetric": ("static", QuantizeStatic(data="ids", scheme="s8-symmetric"), 1, 25),
}
MARKS = dict.fromkeys(("dynamic", "static", "static-symmetric"), pytest.mark.vnni)


def answer(batch: np.ndarray, constants: dict[str, np.ndarray]) -> np.ndarray:
    """The float model, token by token."""
    scores = np.zeros((*batch.shape, ROWS))
    for place in np.ndindex(*batch.shape):
        hidden = np.tanh(constants["embedding"][batch[place]].astype(float) @ constants["layer"])
        scores[place] = [float(hidden @ row) for row in constants["embedding"]]
    return scores


def large(directory: Path) -> int:
    """Bytes of the constants with two dimensions or more."""
    model = onnx.load(directory / "model.onnx")
    return sum(files.data_bytes(tensor) or 0 for tensor in model.graph.initializer if len(tensor.dims) > 1)


@pytest.mark.parametrize("form", ["transpose", "gemm", "copy"])
@pytest.mark.parametrize("case", [pytest.param(name, marks=MARKS.get(name, ())) for name in CASES])
def test_quantized_once_and_right(
    technique: Callable[..., Any], tmp_path: Path, case: str, form: tied_models.Form
) -> None:
    subject = tied(tmp_path / "tied", form)
    name, params, width, least = CASES[case]
    node = technique(f"cbuild_onnx.quantize.{name}:quantize", subject, params, datasets={"ids": "tied_models:samples"})
    model = onnx.load(node.out / "model.onnx")
    counts = [packed or int(np.prod(tensor.dims)) for tensor, _, packed in trained(model)]
    assert sorted(counts) == [WIDTH * WIDTH, ROWS * WIDTH]  # one table, one layer
    assert table_rows(model) == {"ids": ROWS}
    scales = 2 * (ROWS + WIDTH) * 5 * (name == "weights")  # two blocks a row, the last a third empty
    assert large(node.out) <= (ROWS + WIDTH) * (64 if name == "weights" else WIDTH) * width + scales

    constants = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(subject / "model.onnx").graph.initializer
    }
    batch = next(samples())[0]
    wanted = answer(batch, constants)
    compiled = run_node(COMPILE, node.out, OnnxRuntimeSettings(), tmp_path / "compiled").out
    for directory in (node.out, compiled):
        session = onnx_session(directory)
        noise = session.run(None, {"ids": batch})[0] - wanted
        assert 10 * np.log10(np.mean(wanted**2) / np.mean(noise**2)) > least
    assert large(compiled) <= 1.05 * large(node.out)


def onnx_session(directory: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(directory / "model.onnx"), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("method", ["basic", "extended"])
def test_optimisers_keep_one_copy(technique: Callable[..., Any], tmp_path: Path, method: str) -> None:
    subject = tied(tmp_path / "tied", "transpose")
    made = technique("cbuild_onnx.graph.optimize:optimize", subject, OptimizeOnnx(method=method)).out
    assert large(made) == large(subject)
    compiled = run_node(COMPILE, subject, OnnxRuntimeSettings(), tmp_path / "compiled").out
    assert large(compiled) == large(subject)
    batch = next(samples())[0]
    (wanted,) = onnx_session(subject).run(None, {"ids": batch})
    for directory in (made, compiled):
        np.testing.assert_allclose(onnx_session(directory).run(None, {"ids": batch})[0], wanted, atol=1e-4)


def test_what_is_excluded_stays_shared_in_float(technique: Callable[..., Any], tmp_path: Path) -> None:
    for form in ("transpose", "gemm"):
        subject = tied(tmp_path / form, form)
        params = QuantizeDynamic(weights="int8", exclude=("head",))
        made = technique("cbuild_onnx.quantize.dynamic:quantize", subject, params).out
        assert large(made) == ROWS * WIDTH * 4 + WIDTH * WIDTH
        params = QuantizeWeights(exclude=("embed",))  # the head alone has blocks, the embedding reads its table
        made = technique("cbuild_onnx.quantize.weights:quantize", subject, params).out
        assert large(made) >= ROWS * WIDTH * 4 + ROWS * WIDTH // 2


def test_a_table_that_two_heads_read(technique: Callable[..., Any], tmp_path: Path) -> None:
    subject = tied(tmp_path / "tied", "transpose")
    model = onnx.load(subject / "model.onnx")
    model.graph.node.append(onnx.helper.make_node("MatMul", ["mixed", "turned"], ["more"], "second_head"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, None))
    onnx.save(model, subject / "model.onnx")
    for form, params in (("nbits", QuantizeWeights(bits=8)), ("qdq", QuantizeWeights(bits=8, format="qdq"))):
        node = technique("cbuild_onnx.quantize.weights:quantize", subject, params)
        assert sorted(
            packed or int(np.prod(t.dims)) for t, _, packed in trained(onnx.load(node.out / "model.onnx"))
        ) == [
            WIDTH * WIDTH,
            ROWS * WIDTH,
        ], form
        assert min(node.facts["sqnr_db"].values()) > 35
