from __future__ import annotations

from collections import Counter

import digits
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from cbuild_onnx.quantize.params import QuantizeStatic
from cbuild_torch.to_onnx.params.qat import QuantizeQat
from onnx import TensorProto, numpy_helper

from compressbuild.api import UserError

QAT = "cbuild_torch.to_onnx.qat:quantize"


def fused(directory, tmp_path) -> Counter[str]:
    """Operators that ONNX Runtime really runs."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(str(directory / "model.onnx"), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)


def builds_in_tensorrt(directory) -> bool:
    trt = pytest.importorskip("tensorrt_rtx")
    builder = trt.Builder(trt.Logger(trt.Logger.INTERNAL_ERROR))
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, builder.logger)
    if not parser.parse_from_file(str(directory / "model.onnx")):
        return False
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile = builder.create_optimization_profile()
    profile.set_shape("image", (1, 1, 8, 8), (8, 1, 8, 8), (64, 1, 8, 8))
    config.add_optimization_profile(profile)
    return builder.build_serialized_network(network, config) is not None


@pytest.fixture(scope="module")
def cnn(trained, tmp_path_factory):
    """The digits network, trained in each scheme."""
    made = {}
    for scheme in ("u8-affine", "s8-symmetric"):
        params = QuantizeQat(data="train", epochs=2, scheme=scheme)
        made[scheme] = digits.apply(QAT, trained, params, tmp_path_factory.mktemp("qat") / scheme)
    return made


@pytest.fixture(scope="module")
def encoder(trained_sequence, tmp_path_factory):
    made = {}
    for scheme in ("u8-affine", "s8-symmetric"):
        params = QuantizeQat(data="train", epochs=1, scheme=scheme)
        subject = trained_sequence("transformer")
        made[scheme] = digits.apply(QAT, subject, params, tmp_path_factory.mktemp("qat") / scheme)
    return made


def test_a_cnn_is_as_accurate_as_after_static_quantization(cnn, exported, technique):
    static = technique(
        "cbuild_onnx.quantize.static:quantize", exported, QuantizeStatic(data="calibration", scheme="u8-affine")
    )
    for node in cnn.values():
        assert digits.accuracy(node.out) > digits.accuracy(static.out) - 0.01
        assert node.facts["layers"] == 9
        assert node.facts["batchnorm_folded"] == 8


def test_onnx_runtime_fuses_every_layer_of_a_cnn(cnn, tmp_path):
    found = fused(cnn["u8-affine"].out, tmp_path)
    assert (found["QLinearConv"], found["QLinearAdd"], found["QGemm"]) == (8, 3, 1)
    assert not found["Conv"] + found["FusedConv"] + found["Add"] + found["Gemm"]
    assert found["QuantizeLinear"] + found["DequantizeLinear"] <= 3


def test_the_weights_are_stored_as_int8(cnn, exported):
    sizes = [(directory / "model.onnx").stat().st_size for directory in (cnn["u8-affine"].out, exported)]
    assert sizes[0] < 0.45 * sizes[1]
    model = onnx.load(cnn["u8-affine"].out / "model.onnx")
    assert sum(t.data_type == TensorProto.INT8 and len(t.dims) == 4 for t in model.graph.initializer) == 8


def test_symmetric_zero_points_are_zero_and_no_bias_is_integer(cnn):
    model = onnx.load(cnn["s8-symmetric"].out / "model.onnx")
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    quantizers = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(quantizers) > 20
    assert all(tensors[n.input[2]].dtype == "int8" and not tensors[n.input[2]].any() for n in quantizers)


@pytest.mark.parametrize("model", ["cnn", "encoder"])
def test_tensorrt_takes_the_symmetric_scheme_only(model, request):
    made = request.getfixturevalue(model)
    assert builds_in_tensorrt(made["s8-symmetric"].out)
    assert not builds_in_tensorrt(made["u8-affine"].out)


def test_a_transformer_keeps_its_additions_in_float(encoder, trained_sequence, tmp_path):
    before = digits.accuracy(trained_sequence("transformer"))
    for node in encoder.values():
        assert digits.accuracy(node.out) > before - 0.03
        assert node.facts["layers"] == 10
    found = fused(encoder["u8-affine"].out, tmp_path)
    assert found["QLinearAdd"] == 0
    assert found["MatMulIntegerToFloat"] + found["QGemm"] == 10


def few():
    images, labels = next(iter(digits.data.train()))
    yield images[:16], labels[:16]


def test_grouped_and_depthwise_convolutions(toy, tmp_path):
    params = QuantizeQat(data="few", epochs=1, scheme="u8-affine")
    world = {"factories": ("toy_models:depthwise",), "datasets": {"few": "test_qat:few"}}
    node = digits.apply(QAT, toy("depthwise"), params, tmp_path / "out", **world)
    found = fused(node.out, tmp_path)
    assert found["QLinearConv"] == 4  # ONNX Runtime has no quantized transposed convolution: it stays in float
    assert found["QLinearConcat"] == 1


def test_what_only_a_loop_reads_is_kept(toy, technique):
    node = technique(QAT, toy("bagged"), QuantizeQat(data="calibration", epochs=1, scheme="u8-affine"))
    assert node.facts["layers"] == 2
    assert "Loop" in {each.op_type for each in onnx.load(node.out / "model.onnx").graph.node}


def pairs():
    """Samples of the two-input model."""
    generator = np.random.default_rng(0)
    left, right = generator.standard_normal((64, 4)), generator.standard_normal((64, 6))
    yield {"left": left.astype(np.float32), "right": right.astype(np.float32)}, left[:, 0].astype(np.float32)


def first_logit(outputs, labels):
    return (outputs["logits"][:, 0] - labels).square().mean()


def test_several_inputs_and_named_outputs(toy, tmp_path):
    inputs = [["left", ["batch", 4], "float32"], ["right", ["batch", 6], "float32"]]
    params = QuantizeQat(data="pairs", epochs=1, scheme="u8-affine", loss="test_qat:first_logit")
    world = {"factories": ("toy_models:two_inputs",), "datasets": {"pairs": "test_qat:pairs"}}
    node = digits.apply(QAT, toy("two_inputs", inputs), params, tmp_path / "out", **world)
    assert [value.name for value in onnx.load(node.out / "model.onnx").graph.output] == ["logits", "norm"]
    assert node.facts["layers"] == 2


def test_a_teacher_changes_what_is_learnt(trained, technique, cnn):
    teacher = {"inputs": {"teacher": digits.as_input(trained)}, "references": {"base": "teacher"}}
    params = QuantizeQat(data="train", epochs=1, scheme="u8-affine", teacher="base")
    node = technique(QAT, trained, params, **teacher)
    assert digits.accuracy(node.out) > digits.accuracy(trained) - 0.02
    assert node.facts["loss"] != cnn["u8-affine"].facts["loss"]


def test_excluded_layers_stay_float(trained, technique):
    params = QuantizeQat(data="train", epochs=1, scheme="u8-affine", exclude=("stem.0", "classify"))
    node = technique(QAT, trained, params)
    assert node.facts["layers"] == 7
    model = onnx.load(node.out / "model.onnx")
    assert sum(t.data_type == TensorProto.FLOAT and len(t.dims) == 4 for t in model.graph.initializer) == 1


def test_what_does_not_fit_is_explained(toy, technique, trained, trained_sequence):
    def fails(said: str, subject, **params: object) -> str:
        with pytest.raises(UserError, match=said) as error:
            technique(QAT, subject, QuantizeQat(**{"data": "train", "scheme": "u8-affine", **params}))
        return error.value.hint or ""

    assert "quantize.dynamic" in fails("cannot quantize the recurrent layer 'rnn'", trained_sequence("lstm"))
    fails("'scheme: auto' was not resolved", trained, scheme="auto")
    fails("'exclude: nothing' matches nothing", trained, exclude=("nothing",))
    fails("no layer could be quantized", trained, exclude=("*",))
    fails("torch.export cannot capture", toy("branching"))
