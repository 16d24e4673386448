from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import digits
import numpy as np
import onnx
import onnx_models as models
import pytest
from cbuild_openvino.artifact import interface, read, read_onnx
from cbuild_openvino.quantize.params import OpenVinoCompress, OpenVinoQuantize
from cbuild_openvino.settings import OpenVinoSettings
from cbuild_torch.to_onnx.params.export import ExportOnnx
from onnx import TensorProto, helper, numpy_helper

from compressbuild.api import UserError
from compressbuild.api.testing import NodeRun, run_node

QUANTIZE, COMPRESS = "cbuild_openvino.quantize.quantize:quantize", "cbuild_openvino.quantize.compress:compress"
Apply = Callable[..., NodeRun]


@pytest.fixture
def apply(tmp_path: Path) -> Apply:
    count = iter(range(100))

    def run(subject: Path, params: OpenVinoQuantize | OpenVinoCompress, **world: object) -> NodeRun:
        name = QUANTIZE if isinstance(params, OpenVinoQuantize) else COMPRESS
        return digits.apply(name, subject, params, tmp_path / f"out-{next(count)}", **world)

    return run


@pytest.fixture(scope="module")
def transformer(trained_sequence: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("transformer") / "onnx"
    return digits.apply("cbuild_torch.to_onnx.export:export", trained_sequence("transformer"), ExportOnnx(), place).out


def quantized(**params: object) -> OpenVinoQuantize:
    return OpenVinoQuantize(data="calibration", **{"samples": 50, **params})


def operators(artifact: Path) -> Counter[str]:
    return Counter(node.get_type_name() for node in read(artifact).get_ops())


def stored(artifact: Path) -> set[str]:
    """Types of its constants."""
    return {
        node.get_element_type().get_type_name()
        for node in read(artifact).get_ops()
        if node.get_type_name() == "Constant"
    }


def test_a_cnn_in_8_bits_is_small_and_as_good(exported: Path, apply: Apply) -> None:
    node = apply(exported, quantized())
    assert sorted(path.name for path in node.out.iterdir()) == ["model.bin", "model.xml"]
    assert operators(node.out)["FakeQuantize"] == node.facts["quantize_nodes"] > 10
    assert "i8" in stored(node.out)
    weights = sum(tensor.ByteSize() for tensor in onnx.load(exported / "model.onnx").graph.initializer)
    assert (node.out / "model.bin").stat().st_size < 0.35 * weights
    assert digits.accuracy(node.out) > digits.accuracy(exported) - 0.01
    (noise,) = node.facts["sqnr_db"].values()
    assert noise > 20
    assert node.facts["samples"] == 50
    assert node.progress[-1] == {"done": 50, "total": 50, "stage": "calibrate"}


def test_the_backend_compiles_what_nncf_made(exported: Path, apply: Apply, tmp_path: Path) -> None:
    made = apply(exported, quantized()).out
    node = run_node("cbuild_openvino.compile:compile", made, OpenVinoSettings(), tmp_path / "ir", kind="openvino-ir")
    assert node.facts["parity"]["precision"] == "int8"
    assert operators(node.out)["FakeQuantize"] > 10
    assert digits.accuracy(node.out) == digits.accuracy(made)


def test_names_and_dynamic_axes_survive(exported: Path, apply: Apply, tmp_path: Path) -> None:
    declared = interface(read_onnx(exported / "model.onnx", tmp_path))
    for params in (quantized(), OpenVinoCompress()):
        made = interface(read(apply(exported, params).out))
        assert made == declared
        assert made.inputs[0].shape == ("batch", 1, 8, 8)


def test_a_transformer_keeps_its_accuracy(transformer: Path, apply: Apply) -> None:
    plain = apply(transformer, quantized())
    kept = apply(transformer, quantized(model_type="transformer"))
    for node in (plain, kept):
        assert digits.accuracy(node.out) > digits.accuracy(transformer) - 0.03
    assert 0 < kept.facts["quantize_nodes"] < plain.facts["quantize_nodes"]


def test_what_is_not_the_model_any_more_is_refused(tmp_path: Path, apply: Apply) -> None:
    """The small difference of two large products: in 8 bits it is noise."""
    rng = np.random.default_rng(0)
    large = rng.standard_normal((64, 10)).astype(np.float32)
    other = large + rng.normal(0, 1e-3, large.shape).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], name="flat"),
        helper.make_node("MatMul", ["flat", "one"], ["a"], name="a"),
        helper.make_node("MatMul", ["flat", "other"], ["b"], name="b"),
        helper.make_node("Sub", ["a", "b"], ["logits"], name="sub"),
    ]
    proto = models.model(
        nodes,
        {"image": (TensorProto.FLOAT, ["batch", 1, 8, 8])},
        {"logits": (TensorProto.FLOAT, ["batch", 10])},
        [numpy_helper.from_array(large, "one"), numpy_helper.from_array(other, "other")],
    )
    with pytest.raises(UserError, match=r"damaged the model: the signal of output 'logits' is only -?\d+\.\d dB"):
        apply(models.save(proto, tmp_path / "fragile"), quantized())


def test_presets_differ_in_zero_points(exported: Path, apply: Apply) -> None:
    def lowest(preset: str) -> list[float]:
        nodes = read(apply(exported, quantized(preset=preset)).out).get_ordered_ops()
        ranges = [node.input_value(1).get_node() for node in nodes if node.get_type_name() == "FakeQuantize"]
        return [float(np.min(constant.get_data())) for constant in ranges]

    symmetric, mixed = lowest("performance"), lowest("mixed")
    assert len(symmetric) == len(mixed)
    assert symmetric != mixed


def test_excluded_nodes_stay_float(exported: Path, apply: Apply) -> None:
    every = apply(exported, quantized())
    without = apply(exported, quantized(exclude_types=("MatMul",)))
    assert without.facts["excluded"] == 1
    assert without.facts["quantize_nodes"] < every.facts["quantize_nodes"]
    convolutions = operators(every.out)["Convolution"]
    assert apply(exported, quantized(exclude=("node_Conv_*",))).facts["excluded"] >= convolutions


def test_a_fragile_model_is_brought_within_max_drop(apply: Apply, exported: Path) -> None:
    node = apply(exported, quantized(max_drop=0.0, validation="test"))
    assert node.facts["score"] >= node.facts["score_float"]
    assert node.facts["measured"] >= 2
    strict = apply(exported, quantized(max_drop=0.01, validation="test", score="toy_scores:worst_class"))
    assert strict.facts["score_float"] - strict.facts["score"] <= 0.01
    assert strict.facts["score_float"] < node.facts["score_float"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (quantized(exclude=("nothing*",)), r"'exclude: nothing\*' matches no node"),
        (quantized(exclude_types=("Conv",)), "'exclude-types: Conv' matches no node"),
        (quantized(exclude=("*",)), "nothing could be quantized"),
        (quantized(validation="test"), "'validation:' and 'score:' are only used with 'max-drop:'"),
        (quantized(smooth=0.5), "'smooth:' is for transformers"),
        (OpenVinoCompress(exclude=("*",)), "no weight could be compressed"),
        (OpenVinoCompress(mode="int4-sym", awq=True), "need data"),
        (OpenVinoCompress(ratio=0.5), "'mode: int8-asym' rounds every weight of every layer"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_refusals(params: OpenVinoQuantize | OpenVinoCompress, message: str, exported: Path, apply: Apply) -> None:
    with pytest.raises(UserError, match=message):
        apply(exported, params)


def test_a_quantized_model_is_refused(exported: Path, apply: Apply) -> None:
    made = apply(exported, quantized(samples=10)).out
    for params in (quantized(), OpenVinoCompress()):
        with pytest.raises(UserError, match="the model is quantized already"):
            apply(made, params)
    compressed = apply(exported, OpenVinoCompress()).out
    with pytest.raises(UserError, match="no weight could be compressed"):
        apply(compressed, OpenVinoCompress())


def test_a_fixed_batch_is_obeyed(tmp_path: Path, apply: Apply) -> None:
    source = models.save(models.cnn(batch=8), tmp_path / "fixed")
    assert apply(source, quantized(samples=50)).facts["samples"] == 48
    large = models.save(models.cnn(batch=512), tmp_path / "large")
    with pytest.raises(UserError, match="the model takes batches of 512, the data has 50 samples"):
        apply(large, quantized())


def test_data_that_does_not_fit(tmp_path: Path, apply: Apply) -> None:
    with pytest.raises(UserError, match="the data does not fit the model: it expects x: float32"):
        apply(models.save(models.one_op("Relu"), tmp_path / "other"), quantized())


@pytest.mark.parametrize(
    ("params", "types", "share"),
    [
        (OpenVinoCompress(), "u8", 0.32),
        (OpenVinoCompress(mode="int8-sym"), "i8", 0.32),
        (OpenVinoCompress(mode="int4-asym", group_size=32, all_layers=True), "u4", 0.22),
        (OpenVinoCompress(mode="int4-sym", group_size=None, all_layers=True), "i4", 0.22),
    ],
    ids=lambda value: value.mode if isinstance(value, OpenVinoCompress) else "",
)
def test_compressed_weights(
    params: OpenVinoCompress, types: str, share: float, transformer: Path, apply: Apply
) -> None:
    node = apply(transformer, params)
    assert types in stored(node.out)
    assert operators(node.out)["FakeQuantize"] == 0
    weights = sum(tensor.ByteSize() for tensor in onnx.load(transformer / "model.onnx").graph.initializer)
    assert (node.out / "model.bin").stat().st_size < share * weights
    assert digits.accuracy(node.out) > digits.accuracy(transformer) - 0.03
    assert (node.facts["weights_4_bit"] > 0) == params.mode.startswith("int4")


def test_ratio_is_the_share_in_4_bits(transformer: Path, apply: Apply) -> None:
    def share(ratio: float) -> float:
        params = OpenVinoCompress(mode="int4-sym", ratio=ratio, all_layers=True, data="calibration", samples=20)
        facts = apply(transformer, params).facts
        return facts["weights_4_bit"] / (facts["weights_4_bit"] + facts["weights_8_bit"])

    assert share(0.3) < 0.4 < share(0.7) < 0.8


def test_other_processes_and_directories_make_the_same_bytes(
    exported: Path, tmp_path: Path, python: Callable[..., str]
) -> None:
    """Nor does either library start the thread that calls home, as they do unless they take this for a CI job."""
    script = Path(__file__).with_name("nncf_twice.py")
    said = []
    for seed in (1, 2):
        place = tmp_path / ("deep/er" * seed)
        place.mkdir(parents=True)
        said.append(python(script, exported, place, cwd=place, hash_seed=seed))
    assert said[0].startswith("threads [] telemetry MagicMock environment []\n")
    digests = [re.findall(r"^\w+ model\.\w+ [0-9a-f]{64}$", text, re.MULTILINE) for text in said]
    assert len(digests[0]) == 4
    assert digests[0] == digests[1]


def sequences() -> Iterator[Any]:
    generator = np.random.default_rng(2)
    for _ in range(4):
        yield {"x": generator.standard_normal((4, 6, 8)).astype(np.float32)}, np.zeros(4, np.int64)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_recurrent_layer_in_both_directions_stays_in_float(tmp_path: Path, apply: Apply, kind: str) -> None:
    generator = np.random.default_rng(0)
    hidden, gates = 16, {"LSTM": 4, "GRU": 3}[kind]
    constants = {
        "W": generator.standard_normal((2, gates * hidden, 8)) * 0.3,
        "R": generator.standard_normal((2, gates * hidden, hidden)) * 0.3,
        "head": generator.standard_normal((2 * hidden, 200)),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["x"], ["turned"], "turn", perm=[1, 0, 2]),
            helper.make_node(
                kind, ["turned", "W", "R"], ["states"], "layer", direction="bidirectional", hidden_size=16
            ),
            helper.make_node("Transpose", ["states"], ["back"], "back", perm=[2, 0, 1, 3]),
            helper.make_node("Reshape", ["back", "shape"], ["rows"], "flatten"),
            helper.make_node("MatMul", ["rows", "head"], ["y"], "product"),
        ],
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "time", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "time", 200])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
        + [numpy_helper.from_array(np.array([0, 0, 2 * hidden], np.int64), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "recurrent").mkdir()
    onnx.save(model, tmp_path / "recurrent" / "model.onnx")
    params = OpenVinoQuantize(data="sequences", samples=16)
    node = apply(tmp_path / "recurrent", params, datasets={"sequences": "test_nncf:sequences"})
    assert node.facts["excluded"] == 1
    assert node.facts["sqnr_db"]["y"] > 20
    batch = next(sequences())[0]
    wanted = digits.outputs(tmp_path / "recurrent", batch)["y"]  # by ONNX Runtime
    noise = digits.outputs(node.out, batch)["y"] - wanted
    assert 10 * np.log10(np.mean(wanted**2) / np.mean(noise**2)) > 20
