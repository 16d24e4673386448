"""The error of each layer, against a loop in numpy that knows nothing of ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import digits
import numpy as np
import onnx
import onnxruntime
import pytest
from cbuild_onnx.layers.graphs import activations, cut, exposing, readings
from cbuild_onnx.layers.params import LayerErrors
from cbuild_onnx.model import files
from cbuild_onnx.model.noise import SILENT, Sums, decibels, rescaled
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeStatic, QuantizeWeights
from onnx import TensorProto, helper, numpy_helper
from planted import write_planted
from ridge import digits as samples

from compressbuild.api import UserError, WorkInput

MEASURE = "cbuild_onnx.layers.measure:measure"
STATIC = "cbuild_onnx.quantize.static:quantize"
OUTLIER = 14.0
COUNT = 50


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("planted")
    write_planted(place / "model.onnx", *samples(), OUTLIER)
    return place


def static(**params: Any) -> QuantizeStatic:
    return QuantizeStatic(**{"data": "calibration", "scheme": "u8-affine", "reduce_range": True, **params})


@pytest.fixture(scope="module")
def broken(net: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits.apply(STATIC, net, static(per_channel=False), tmp_path_factory.mktemp("int8") / "out").out


def rows_of(source: Path, made: Path, place: Path, **params: Any) -> dict[str, dict[str, Any]]:
    given = LayerErrors(**{"data": "test", "samples": COUNT, **params})
    node = digits.apply(MEASURE, made, given, place, inputs={"origin": digits.as_input(source)})
    found: dict[str, dict[str, Any]] = json.loads((node.out / "layers.json").read_text())["layers"]
    assert node.facts["compared"] == len(found)
    return found


def ratio(wanted: np.ndarray, got: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(wanted.astype(np.float64) ** 2) / np.sum((got - wanted).astype(np.float64) ** 2)))


class ByHand:
    """The same network in numpy: in float, and rounded with the scales that the file has."""

    def __init__(self, net: Path, made: Path) -> None:
        self.float = {t.name: numpy_helper.to_array(t) for t in onnx.load(net / "model.onnx").graph.initializer}
        model = onnx.load(made / "model.onnx")
        self.held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.points = {node.input[0]: node.input[1:] for node in model.graph.node if node.op_type == "QuantizeLinear"}
        self.stored = {node.output[0]: node.input for node in model.graph.node if node.op_type == "DequantizeLinear"}

    def rounded(self, name: str, values: np.ndarray) -> np.ndarray:
        scale, zero = (self.held[each].astype(np.float64) for each in self.points[name])
        return (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale

    def weight(self, name: str) -> np.ndarray:
        held, scale, zero = next(i for i in self.stored.values() if i[0] == f"{name}_quantized")
        return (self.held[held].astype(np.float64) - self.held[zero]) * self.held[scale]

    def layers(self, images: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
        """(activation, in float, in 8 bits, in float on the inputs in 8 bits)."""
        pixels = images.reshape(len(images), -1).astype(np.float64)
        wanted, got = pixels, self.rounded("flat", pixels)
        yield "flat", pixels, got, pixels
        for name, weight, bias in (("active1", "one", "first"), ("active2", "two", "second"), ("", "three", "third")):
            own = got @ self.float[weight] + self.float[bias]
            wanted = wanted @ self.float[weight] + self.float[bias]
            got = got @ self.weight(weight) + self.float[bias]
            if name:
                own, wanted = np.maximum(own, 0), np.maximum(wanted, 0)
                got = self.rounded(name, got)
            yield name or "logits", wanted, got, own


def test_it_is_what_a_loop_in_numpy_finds(net: Path, broken: Path, tmp_path: Path) -> None:
    found = rows_of(net, broken, tmp_path / "out")
    images = digits.held_out()[0]["image"][:COUNT]
    for name, wanted, got, own in ByHand(net, broken).layers(images):
        if name == "logits":  # its rounding is by another name in the file
            assert found[name]["sqnr"] == pytest.approx(ratio(wanted, got), abs=0.6)
            continue
        assert found[name]["sqnr"] == pytest.approx(ratio(wanted, got), abs=0.05), name
        assert found[name]["own"] == pytest.approx(ratio(own, got), abs=0.05), name
        noise, power = np.sum((got - own) ** 2, 0), np.sum(own**2, 0)
        alive = power > 1e-6 * power.max()
        lost = np.minimum(noise[alive] / power[alive], 1).mean()
        assert found[name]["lost"] == pytest.approx(lost, abs=2e-3)


def test_the_layer_with_the_outlier_comes_first(net: Path, broken: Path, tmp_path: Path) -> None:
    found = rows_of(net, broken, tmp_path / "one")
    worst = max(found, key=lambda name: found[name]["lost"])
    assert (worst, found[worst]["node"], found[worst]["op"]) == ("active1", "fc1", "Gemm+Relu")
    assert found[worst]["share"] > 0.8
    assert found[worst]["rounding"] < 0.1 * found[worst]["lost"], "its weights are to blame, not its output"
    assert sum(row["share"] for row in found.values()) == pytest.approx(1, abs=1e-3)
    kept = digits.apply(STATIC, net, static(per_channel=False, exclude=("fc1",)), tmp_path / "kept").out
    after = rows_of(net, kept, tmp_path / "two")
    assert after["active1"]["lost"] < 0.1 * found["active1"]["lost"]
    assert digits.accuracy(kept) > digits.accuracy(broken) + 0.02


def test_an_error_is_not_charged_to_the_layers_behind(net: Path, broken: Path, tmp_path: Path) -> None:
    """The last layer gets what the second one broke: in all it is as wrong, by itself it is not."""
    row = rows_of(net, broken, tmp_path / "out")["logits"]
    assert row["sqnr"] < 15 < 25 < row["own"]


def test_what_is_read_runs_in_integers(net: Path, broken: Path, tmp_path: Path) -> None:
    """Else it would be another model: one whose products cannot saturate."""
    read = readings(files.read(broken / "model.onnx"), activations(files.read(net / "model.onnx")))
    assert read["active1"].scale is not None
    options = onnxruntime.SessionOptions()
    for name, outputs in (("plain", []), ("read", [each.output for each in read.values()])):
        options.optimized_model_filepath = str(tmp_path / f"{name}.onnx")
        made = exposing(files.read(broken / "model.onnx"), outputs)
        onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = {}
    for name in ("plain", "read"):
        nodes = onnx.load(tmp_path / f"{name}.onnx").graph.node
        kinds[name] = [node.op_type for node in nodes if "Gemm" in node.op_type]
    assert kinds["read"] == kinds["plain"] == ["QGemm"] * 3


@pytest.mark.parametrize(
    ("run", "params"),
    [
        ("cbuild_onnx.quantize.dynamic:quantize", QuantizeDynamic(per_channel=False, reduce_range=False)),
        ("cbuild_onnx.quantize.weights:quantize", QuantizeWeights(bits=4, block_size=128, symmetric=True)),
    ],
)
def test_other_quantizers_name_it_too(run: str, params: Any, net: Path, tmp_path: Path) -> None:
    made = digits.apply(run, net, params, tmp_path / "made").out
    found = rows_of(net, made, tmp_path / "out")
    worst = max(found, key=lambda name: found[name]["lost"])
    assert found[worst]["node"] == "fc1"


def test_a_model_that_is_its_source_has_no_error(net: Path, tmp_path: Path) -> None:
    found = rows_of(net, net, tmp_path / "out")
    assert {row["lost"] for row in found.values()} == {0.0}
    assert {row["own"] for row in found.values()} == {SILENT}


def test_names_that_differ_are_refused(net: Path, tmp_path: Path) -> None:
    model = onnx.load(net / "model.onnx")
    given = {value.name for value in model.graph.input} | {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [name if name in given else f"{name}.renamed" for name in names]
    model.graph.output[0].name += ".renamed"
    files.write(model, _new(tmp_path / "renamed"))
    with pytest.raises(UserError, match="no activation by a name that its source has"):
        rows_of(net, tmp_path / "renamed", tmp_path / "out")


def test_other_inputs_are_refused(net: Path, tmp_path: Path) -> None:
    model = onnx.load(net / "model.onnx")
    model.graph.input[0].name = model.graph.node[0].input[0] = "picture"
    files.write(model, _new(tmp_path / "other"))
    with pytest.raises(UserError, match="takes the inputs picture, what it was made from image"):
        rows_of(net, tmp_path / "other", tmp_path / "out")


def _new(place: Path) -> Path:
    place.mkdir()
    return place


def test_branches_read_what_the_layer_got(tmp_path: Path) -> None:
    """A body that takes a value from around it takes the given one."""
    inner = helper.make_graph(
        [helper.make_node("Add", ["doubled", "doubled"], ["four"])], "then", [], [_value("four", [2])]
    )
    other = helper.make_graph([helper.make_node("Identity", ["doubled"], ["same"])], "else", [], [_value("same", [2])])
    nodes = [
        helper.make_node("Add", ["x", "x"], ["doubled"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=other),
    ]
    yes = numpy_helper.from_array(np.array(True), "yes")
    graph = helper.make_graph(nodes, "g", [_value("x", [2])], [_value("y", [2])], [yes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    made = cut(model, {"doubled": np.dtype("float32"), "y": np.dtype("float32")})
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    one, two = np.array([1, 2], np.float32), np.array([10, 20], np.float32)
    assert session.run(["doubled/made", "y/made"], {"x": one, "doubled": two, "y": one})[1].tolist() == [20, 40]


def _value(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def test_scales_that_moved_are_no_error() -> None:
    """As SmoothQuant moves them. What is noise, or a little off, is not left out."""
    rng = np.random.default_rng(0)
    made = rng.standard_normal((40, 16)).astype(np.float32)
    assert rescaled(made * rng.uniform(2, 9, 16), made, -1)
    assert not rescaled(made, made, -1)
    assert not rescaled(made * 1.05, made, -1)
    assert not rescaled(rng.standard_normal((40, 16)), made, -1)
    assert not rescaled(made * -3, made, -1)


def test_smoothed_activations_are_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = {
        "flatter": np.array([0, 8, 8], np.int64),
        "gamma": rng.uniform(0.1, 20, 8).astype(np.float32),
        "beta": np.zeros(8, np.float32),
        "w": rng.standard_normal((8, 16)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Reshape", ["image", "flatter"], ["rows"], "reshape"),
        helper.make_node("LayerNormalization", ["rows", "gamma", "beta"], ["normed"], "norm"),
        helper.make_node("MatMul", ["normed", "w"], ["logits"], "product"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 8, 16])
    graph = helper.make_graph(nodes, "g", [image], [out], [numpy_helper.from_array(a, n) for n, a in table.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    files.write(model, _new(tmp_path / "net"))
    made = digits.apply(STATIC, tmp_path / "net", static(smooth=0.5, op_types=("MatMul",)), tmp_path / "made").out
    found = rows_of(tmp_path / "net", made, tmp_path / "out")
    assert "normed" not in found
    assert found["logits"]["op"] == "LayerNormalization+MatMul"
    assert found["logits"]["own"] > 20


def test_channels_count_alike_and_masks_not_at_all() -> None:
    """One loud channel must not hide that a quiet one is lost, and a dead one has nothing to lose."""
    made = np.ones((4, 3), np.float32) * np.array([100, 1, 0], np.float32)
    got = made + np.array([0, 1, 0.001], np.float32)
    sums = Sums(-1)
    sums.add(made[:2], got[:2], made[:2], got[:2])
    sums.add(made[2:], got[2:], made[2:], None)
    assert sums.lost == pytest.approx(0.5)
    assert sums.rounding == pytest.approx(0.25)
    assert sums.own == pytest.approx(10 * np.log10((100**2 + 1) / 1.000001), abs=1e-4)
    hidden = made.copy()
    hidden[0] = -np.finfo(np.float32).max
    before = Sums(-1)
    before.add(hidden, np.where(hidden < -1, np.float32(-65504), hidden), hidden, None)  # as half precision has it
    assert before.lost == 0
    assert (before.sqnr, before.own) == (SILENT, SILENT)
    assert (decibels(0, 1), decibels(1, 0), decibels(10, 1)) == (-SILENT, SILENT, pytest.approx(10))


def test_the_model_s_own_batch_is_kept(net: Path, tmp_path: Path) -> None:
    model = onnx.load(net / "model.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 8
    files.write(model, _new(tmp_path / "net"))
    made = digits.apply(STATIC, tmp_path / "net", static(per_channel=False), tmp_path / "made").out
    given = LayerErrors(data="test", samples=20)
    origin: dict[str, WorkInput] = {"origin": digits.as_input(tmp_path / "net")}
    node = digits.apply(MEASURE, made, given, tmp_path / "out", inputs=origin)
    assert node.facts["samples"] == 16
    few = LayerErrors(data="test", samples=7)
    with pytest.raises(UserError, match="batches of 8, the data has 7 samples"):
        digits.apply(MEASURE, made, few, tmp_path / "few", inputs=origin)
