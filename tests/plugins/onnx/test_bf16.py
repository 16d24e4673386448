from __future__ import annotations

import digits
import onnx
import pytest
from cbuild_onnx.convert.params import ConvertBf16
from cbuild_onnx.model import files
from cbuild_onnx.quantize.params import QuantizeStatic
from cbuild_torch.to_onnx.params.export import ExportOnnx
from onnx import TensorProto

from compressbuild.api import UserError

CONVERT = "cbuild_onnx.convert.bf16:convert"


@pytest.fixture(scope="module")
def newest(trained, tmp_path_factory):
    """The digits network in opset 22, the first whose convolutions may be bfloat16."""
    place = tmp_path_factory.mktemp("newest") / "out"
    return digits.apply("cbuild_torch.to_onnx.export:export", trained, ExportOnnx(opset=22), place).out


def weight_types(directory) -> set[int]:
    return {t.data_type for t in onnx.load(directory / "model.onnx").graph.initializer if len(t.dims) >= 2}


def test_it_is_half_the_size_and_agrees(technique, newest):
    node = technique(CONVERT, newest, ConvertBf16(data="test"))
    assert node.facts["bytes"] < 0.55 * (newest / "model.onnx").stat().st_size
    assert weight_types(node.out) == {TensorProto.BFLOAT16}
    assert 0.001 < node.facts["max_difference"] < 1
    model = onnx.load(node.out / "model.onnx")
    values = (*model.graph.input, *model.graph.output)
    assert {value.type.tensor_type.elem_type for value in values} == {TensorProto.FLOAT}
    files.validate(node.out)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def test_tensorrt_builds_it(technique, newest):
    trt = pytest.importorskip("tensorrt_rtx")
    out = technique(CONVERT, newest, ConvertBf16()).out
    builder = trt.Builder(trt.Logger(trt.Logger.INTERNAL_ERROR))
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, builder.logger)
    assert parser.parse_from_file(str(out / "model.onnx")), parser.get_error(0).desc()
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile = builder.create_optimization_profile()
    profile.set_shape("image", (1, 1, 8, 8), (8, 1, 8, 8), (64, 1, 8, 8))
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None


def test_a_transformer(technique, exported_sequence):
    node = technique(CONVERT, exported_sequence("transformer"), ConvertBf16(data="test"))
    assert weight_types(node.out) == {TensorProto.BFLOAT16}
    onnx.shape_inference.infer_shapes(onnx.load(node.out / "model.onnx"), check_type=True, strict_mode=True)


def test_blocked_operators_stay_float32(technique, newest):
    assert weight_types(technique(CONVERT, newest, ConvertBf16(block_ops=("Conv", "Gemm"))).out) == {TensorProto.FLOAT}
    first = next(node.name for node in onnx.load(newest / "model.onnx").graph.node if node.op_type == "Conv")
    out = technique(CONVERT, newest, ConvertBf16(block_nodes=(first,))).out
    assert weight_types(out) == {TensorProto.FLOAT, TensorProto.BFLOAT16}


def test_what_does_not_fit_is_explained(technique, newest, exported):
    with pytest.raises(UserError, match="the bfloat16 model differs from its source"):
        technique(CONVERT, newest, ConvertBf16(tolerance=1e-6))
    with pytest.raises(UserError, match="'block-ops: LSTM' matches no node"):
        technique(CONVERT, newest, ConvertBf16(block_ops=("LSTM",)))
    params = QuantizeStatic(data="calibration", scheme="u8-affine")
    done = technique("cbuild_onnx.quantize.static:quantize", exported, params).out
    with pytest.raises(UserError, match="the model is quantized"):
        technique(CONVERT, done, ConvertBf16())
