"""What is in each layer, against numpy by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import digits
import numpy as np
import onnx
import onnx_models as models
import pytest
from cbuild_metrics.cost import layers
from onnx import TensorProto, helper, numpy_helper

from compressbuild.api import Params
from compressbuild.api.testing import run_node

CENSUS = "cbuild_onnx.model.census:census"


def look(artifact: Path, out: Path) -> dict[str, Any]:
    return run_node("cbuild_metrics.cost.layers:layers", artifact, Params(), out, kind="onnx", census=CENSUS).facts


def one(*weights: np.ndarray, directory: Path, before: str = "") -> Path:
    """x, times each weight in turn."""
    nodes, tensors, at = [], [], "x"
    for index, array in enumerate(weights):
        name = f"w{index}"
        tensors.append(numpy_helper.from_array(array, name))
        if before:
            nodes.append(helper.make_node(before, [name], [f"{name}t"], name=f"turn{index}"))
        nodes.append(helper.make_node("MatMul", [at, f"{name}t" if before else name], [f"y{index}"], name=f"mm{index}"))
        at = f"y{index}"
    proto = models.model(
        nodes, {"x": (TensorProto.FLOAT, ["n", len(weights[0])])}, {at: (TensorProto.FLOAT, None)}, tensors
    )
    return models.save(proto, directory)


def test_counts_histogram_and_noise(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    array[np.abs(array) < 0.5] = 0
    found = look(one(array, directory=tmp_path / "m"), tmp_path / "out")
    (row,) = found["layers"]
    there = array[array != 0].astype(np.float64)
    assert found["value"] == 1
    assert (row["name"], row["op"], row["node"], row["dtype"]) == ("w0", "MatMul", "mm0", "float32")
    assert (row["shape"], row["n"], row["bytes"], row["nonzero"]) == ([40, 50], 2000, 8000, there.size)
    assert row["histogram"] == np.histogram(there, bins=layers.BINS)[0].tolist()
    assert (row["low"], row["high"]) == (there.min(), there.max())
    step = np.abs(there).max() / 127
    rounded = np.clip(np.rint(array.astype(np.float64) / step), -127, 127) * step
    assert row["sqnr8"] == pytest.approx(10 * np.log10((array**2).sum() / ((array - rounded) ** 2).sum()), abs=0.02)


def test_a_weight_is_of_the_layer_it_ends_in(tmp_path: Path) -> None:
    found = look(one(np.eye(4, dtype=np.float32), directory=tmp_path / "m", before="Transpose"), tmp_path / "out")
    assert [(row["op"], row["node"]) for row in found["layers"]] == [("MatMul", "mm0")]


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_weights_that_are_all_the_same(value: float, tmp_path: Path) -> None:
    (row,) = look(one(np.full((3, 4), value, np.float32), directory=tmp_path / "m"), tmp_path / "out")["layers"]
    assert row["histogram"] == ([12] if value else [])
    assert (row["low"], row["high"], row["nonzero"]) == (value, value, 12 if value else 0)
    assert "sqnr8" not in row


def test_what_is_not_a_number_is_counted(tmp_path: Path) -> None:
    array = np.array([[np.nan, 1.0], [np.inf, 2.0]], np.float32)
    (row,) = look(one(array, directory=tmp_path / "m"), tmp_path / "out")["layers"]
    assert row["nonfinite"] == 2
    assert (row["low"], row["high"]) == (1, 2)


def test_quantised_weights_are_shown_as_stored(tmp_path: Path) -> None:
    artifact = models.quantized(models.save(models.cnn(), tmp_path / "m"), tmp_path / "q", "s8-symmetric")
    found = look(artifact, tmp_path / "out")
    assert {row["dtype"] for row in found["layers"]} == {"int8"}
    assert {row["op"] for row in found["layers"]} == {"Conv", "Gemm"}
    assert all(row["bytes"] == row["n"] and "sqnr8" not in row for row in found["layers"])
    total = sum(row["n"] for row in found["layers"]) + found["vectors"]["n"]
    assert total == models.cnn_parameters()


def test_half_the_bytes_in_16_bits_and_large_tensors_are_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "SAMPLED", 100)
    array = np.random.default_rng(1).normal(size=(30, 30)).astype(np.float16)
    row = {"n": 900, "bytes": 1800, "nonzero": 900}
    spread = layers._spread(array, "float16")
    assert sum(spread["histogram"]) == 100
    proto = one(array.astype(np.float32), directory=tmp_path / "m")
    half = models.half(onnx.load(proto / "model.onnx"))
    (found,) = look(models.save(half, tmp_path / "h"), tmp_path / "out")["layers"]
    assert {key: found[key] for key in row} == row
    assert found["dtype"] == "float16"


def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    array = np.random.default_rng(2).normal(size=(64, 64)).astype(np.float32)
    inside = one(array, directory=tmp_path / "m")
    (tmp_path / "e").mkdir()
    proto = onnx.load(inside / "model.onnx")
    onnx.save(proto, tmp_path / "e/model.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    assert look(tmp_path / "e", tmp_path / "a") == look(inside, tmp_path / "b")


def test_layers_of_a_torch_model(tmp_path: Path) -> None:
    source = digits.source(tmp_path / "net")
    found = digits.apply("cbuild_metrics.cost.layers:layers", source, Params(), tmp_path / "out").facts
    first = found["layers"][0]
    assert (first["op"], first["dtype"], first["shape"][2:]) == ("Conv2d", "float32", [3, 3])
    assert first["name"] == f"{first['node']}.weight"
    rows, vectors = found["layers"], found["vectors"]
    counted = digits.apply("cbuild_metrics.cost.parameters:parameters", source, Params(), tmp_path / "count").facts
    assert sum(row["n"] for row in rows) + vectors["n"] == counted["value"]
    assert sum(row["nonzero"] for row in rows) + vectors["nonzero"] == counted["nonzero"]
