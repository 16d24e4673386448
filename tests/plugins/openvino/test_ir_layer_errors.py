"""The error of each layer of an IR: the layer whose weights are wrong is named, by the numbers that numpy gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import digits
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from planted import write_planted
from ridge import digits as samples

from compressbuild.api import UserError

pytest.importorskip("openvino", exc_type=ImportError)

from cbuild_onnx.model.noise import SILENT
from cbuild_openvino.artifact import read_onnx, write
from cbuild_openvino.layers.graphs import layers
from cbuild_openvino.layers.params import IrLayerErrors
from cbuild_openvino.quantize.params import OpenVinoCompress, OpenVinoQuantize

MEASURE = "cbuild_openvino.layers.measure:measure"
COUNT = 50
WEIGHTS = {"fc1": "one", "fc2": "two", "fc3": "three"}


def net(place: Path, outlier: float = 0.3) -> Path:
    write_planted(place / "model.onnx", *samples(), outlier)
    return place


def ir_of(source: Path, place: Path) -> Path:
    """The file as OpenVINO reads it, written as an IR."""
    place.mkdir()
    write(read_onnx(source / "model.onnx", place.parent), place)
    return place


def rows_of(source: Path, made: Path, place: Path) -> dict[str, dict[str, Any]]:
    params = IrLayerErrors(data="test", samples=COUNT)
    node = digits.apply(MEASURE, made, params, place, inputs={"origin": digits.as_input(source)})
    found: dict[str, dict[str, Any]] = json.loads((node.out / "layers.json").read_text())["layers"]
    assert node.facts["compared"] == len(found)
    assert node.facts["samples"] == COUNT
    assert sum(row["share"] for row in found.values()) == pytest.approx(1, abs=1e-3)
    return found


def decibels(wanted: np.ndarray, noise: np.ndarray) -> float:
    return float(
        10 * np.log10(np.sum(np.square(wanted, dtype=np.float64)) / np.sum(np.square(noise, dtype=np.float64)))
    )


@pytest.mark.parametrize("wrong", WEIGHTS)
def test_a_layer_whose_weights_are_wrong_is_named(tmp_path: Path, wrong: str) -> None:
    source, other = net(tmp_path / "net"), net(tmp_path / "other")
    model = onnx.load(other / "model.onnx")
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    noise = 0.05 * np.random.default_rng(1).standard_normal(arrays[WEIGHTS[wrong]].shape).astype(np.float32)
    for tensor in model.graph.initializer:
        if tensor.name == WEIGHTS[wrong]:
            tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name] + noise, tensor.name))
    onnx.save(model, other / "model.onnx")
    rows = rows_of(source, ir_of(other, tmp_path / "ir"), tmp_path / "out")
    named = max(rows, key=lambda name: rows[name]["lost"])
    assert rows[named]["node"].split("/")[0] == wrong
    assert rows[named]["op"] == "MatMul"
    assert rows[named]["share"] == 1
    assert all(row["own"] == SILENT for name, row in rows.items() if name != named), "no other layer adds any"
    images = digits.held_out()[0]["image"][:COUNT].reshape(COUNT, -1)
    given = images
    for name in list(WEIGHTS)[: list(WEIGHTS).index(wrong)]:
        bias = arrays[{"one": "first", "two": "second"}[WEIGHTS[name]]]
        given = np.maximum(given @ arrays[WEIGHTS[name]] + bias, 0)
    assert rows[named]["own"] == pytest.approx(decibels(given @ arrays[WEIGHTS[wrong]], given @ noise), abs=0.01)


def test_what_nncf_loses_by_an_outlier_is_in_the_layer_that_has_it(tmp_path: Path) -> None:
    source = net(tmp_path / "net", 20.0)
    made = digits.apply(
        "cbuild_openvino.quantize.quantize:quantize", source, OpenVinoQuantize(data="calibration"), tmp_path / "int8"
    ).out
    rows = rows_of(source, made, tmp_path / "out")
    worst = max(rows.values(), key=lambda row: row["lost"])
    assert worst["node"].startswith("fc1")
    assert worst["share"] > 0.5
    assert all(row["rounding"] == 0 for row in rows.values())
    feeds = {"image": digits.held_out()[0]["image"][:COUNT]}
    wanted, got = (digits.outputs(each, feeds)["logits"] for each in (source, made))
    *_, last = rows.values()
    assert last["sqnr"] == pytest.approx(decibels(wanted, got - wanted), abs=0.2), "as the two models whole"


def test_weights_alone(tmp_path: Path) -> None:
    """Also beside an IR."""
    source = net(tmp_path / "net")
    made = digits.apply(
        "cbuild_openvino.quantize.compress:compress", source, OpenVinoCompress(mode="int8-asym"), tmp_path / "small"
    ).out
    rows = rows_of(source, made, tmp_path / "out")
    assert rows == rows_of(ir_of(source, tmp_path / "ir"), made, tmp_path / "again")
    lossy = {row["node"].split("/")[0] for row in rows.values() if row["own"] < SILENT}
    assert lossy == {"fc1", "fc2", "fc3"}


def test_names_that_differ_are_said_to(tmp_path: Path) -> None:
    source, other = net(tmp_path / "net"), net(tmp_path / "other")
    model = onnx.load(other / "model.onnx")
    for node in model.graph.node:
        node.name = f"other/{node.name}"
    onnx.save(model, other / "model.onnx")
    with pytest.raises(UserError, match="no layer by the name that it has in its source") as caught:
        rows_of(source, ir_of(other, tmp_path / "ir"), tmp_path / "out")
    assert "renamed them" in str(caught.value.hint)


def test_every_float_output_behind_the_inputs_is_a_layer(tmp_path: Path) -> None:
    found = layers(read_onnx(net(tmp_path / "net") / "model.onnx", tmp_path))
    assert [layer.op for layer in found.values()].count("MatMul") == 3
    assert {layer.op for layer in found.values()} == {"MatMul", "Add", "Relu", "Reshape", "Multiply"}
