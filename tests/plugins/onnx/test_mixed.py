from __future__ import annotations

import digits
import numpy as np
import onnx
import pytest
from cbuild_onnx.model import files
from cbuild_onnx.quantize.params import QuantizeMixed, QuantizeStatic
from onnx import TensorProto, numpy_helper

from compressbuild.api import UserError

MIXED = "cbuild_onnx.quantize.mixed:quantize"


@pytest.fixture
def fragile(exported, tmp_path):
    """The network with one convolution whose input channels differ so much in scale that 8 bits ruin it: the channels
    before it are scaled up and down, its weights the other way, so in float nothing changes."""
    model = onnx.load(exported / "model.onnx")
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    first, second = convolutions[1], convolutions[2]  # in one block: nothing else reads what is between them
    factors = np.where(np.arange(16) % 4 == 0, 200.0, 1.0).astype(np.float32)

    def scale(name: str, by: np.ndarray) -> None:
        tensors[name].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensors[name]) * by, name))

    scale(first.input[1], factors[:, None, None, None])
    if len(first.input) > 2:
        scale(first.input[2], factors)
    scale(second.input[1], 1 / factors[None, :, None, None])
    (tmp_path / "fragile").mkdir()
    files.write(model, tmp_path / "fragile")
    assert digits.accuracy(tmp_path / "fragile") == digits.accuracy(exported)
    return tmp_path / "fragile"


def mixed(**params: object) -> QuantizeMixed:
    return QuantizeMixed(**{"data": "calibration", "validation": "train", "scheme": "u8-affine", **params})


def drops(node) -> tuple[float, float]:
    """Of what was written, and of int8 throughout."""
    facts = node.facts
    return facts["score_float"] - facts["score"], facts["score_float"] - facts["score_int8"]


def test_a_fragile_layer_stays_float_and_saves_the_accuracy(technique, fragile):
    with pytest.raises(UserError, match=r"quantize\.static damaged the model"):
        technique(
            "cbuild_onnx.quantize.static:quantize", fragile, QuantizeStatic(data="calibration", scheme="u8-affine")
        )
    node = technique(MIXED, fragile, mixed())
    assert digits.accuracy(node.out) > digits.accuracy(fragile) - 0.02
    kept = node.facts["kept_float"]
    assert 1 <= len(kept) <= 3
    assert kept[0]["drop_alone"] > 0
    measured = node.facts["sensitivity"]
    assert len(measured) == node.facts["layers"]
    assert measured == sorted(measured, key=lambda row: (-row["drop_alone"], row["sqnr_alone"]))
    assert all(row in measured for row in kept)
    assert (
        node.facts["score_float"] - node.facts["score"] <= 0.005 < node.facts["score_float"] - node.facts["score_int8"]
    )
    model = onnx.load(node.out / "model.onnx")
    floats = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 4]
    assert len(floats) == len(kept)


def test_a_robust_model_is_quantized_whole(technique, exported):
    node = technique(MIXED, exported, mixed(max_drop=0.02))
    static = technique(
        "cbuild_onnx.quantize.static:quantize", exported, QuantizeStatic(data="calibration", scheme="u8-affine")
    )
    assert node.facts["kept_float"] == node.facts["sensitivity"] == []
    assert node.facts["measured"] == 1
    assert (node.out / "model.onnx").read_bytes() == (static.out / "model.onnx").read_bytes()


def test_the_noise_of_the_outputs_can_be_the_limit(technique, exported):
    plain = technique(MIXED, exported, mixed(metric="sqnr", min_sqnr=1.0))
    wanted = plain.facts["sqnr"] + 3
    node = technique(MIXED, exported, mixed(metric="sqnr", min_sqnr=wanted))
    assert node.facts["sqnr"] >= wanted
    assert node.facts["kept_float"]
    with pytest.raises(UserError, match="'min-sqnr: 150' cannot be met"):
        technique(MIXED, exported, mixed(metric="sqnr", min_sqnr=150))


def worst_class(outputs, labels):
    """A metric of one's own: the accuracy of the class that is recognised worst."""
    right = outputs["output"].argmax(-1) == labels
    return min(right[labels == label].mean() for label in range(10))


def test_a_metric_of_ones_own(technique, fragile):
    node = technique(MIXED, fragile, mixed(score="test_mixed:worst_class", max_drop=0.02))
    assert (
        node.facts["score_float"] - node.facts["score"] <= 0.02 < node.facts["score_float"] - node.facts["score_int8"]
    )


@pytest.mark.slow
def test_a_transformer(technique, exported_sequence):
    subject = exported_sequence("transformer")
    node = technique(MIXED, subject, mixed(max_drop=0.01))
    assert digits.accuracy(node.out) > digits.accuracy(subject) - 0.03
    assert node.facts["layers"] >= 10


def test_what_does_not_fit_is_explained(technique, exported):
    with pytest.raises(UserError, match="top1 needs integer labels"):
        technique(
            MIXED, exported, mixed(validation="floats"), datasets={**digits.DATASETS, "floats": "test_mixed:floats"}
        )
    with pytest.raises(UserError, match="no LSTM with constant weights"):
        technique(MIXED, exported, mixed(layers=("LSTM",)))


def floats():
    images, labels = next(iter(digits.data.train()))
    yield images, labels.astype(np.float32)
