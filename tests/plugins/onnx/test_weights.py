from __future__ import annotations

import digits
import numpy as np
import onnx
import onnx_models as models
import pytest
from cbuild_onnx.quantize.blocks import gptq, hqq, round_to_nearest
from cbuild_onnx.quantize.params import QuantizeWeights
from onnx import TensorProto, helper, numpy_helper

from compressbuild.api import UserError

WEIGHTS = "cbuild_onnx.quantize.weights:quantize"


def size(directory) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def error(one, other) -> float:
    feeds = {"image": digits.held_out()[0]["image"]}
    wanted, found = (next(iter(digits.outputs(each, feeds).values())) for each in (one, other))
    return float(np.abs(found - wanted).mean() / np.abs(wanted).mean())


class TestBlocks:
    weight = np.random.default_rng(0).standard_t(3, (24, 70)).astype(np.float32)

    @pytest.mark.parametrize("symmetric", [False, True])
    @pytest.mark.parametrize("bits", [4, 8])
    def test_no_weight_is_off_by_more_than_half_a_step(self, bits, symmetric):
        blocks = round_to_nearest(self.weight, bits=bits, block=32, symmetric=symmetric)
        steps = np.repeat(blocks.scales, 32, axis=1)[:, :70]
        off = np.abs(blocks.weight() - self.weight) / steps
        assert off.max() < 1.001 if not symmetric else off.max() < 0.501
        assert off.mean() < 0.3
        assert blocks.values.max() < 2**bits

    def test_hqq_has_the_smaller_mean_error(self):
        plain = round_to_nearest(self.weight, bits=4, block=32, symmetric=False).weight()
        fitted = hqq(self.weight, bits=4, block=32).weight()
        assert np.abs(fitted - self.weight).mean() < np.abs(plain - self.weight).mean()

    def test_gptq_has_the_smaller_error_on_its_data(self):
        generator = np.random.default_rng(1)
        samples = generator.standard_normal((500, 20)) @ generator.standard_normal((20, 70))
        hessian = samples.T @ samples
        wanted = samples @ self.weight.T
        found = [
            np.linalg.norm(samples @ blocks.weight().T - wanted)
            for blocks in (
                round_to_nearest(self.weight, bits=4, block=32, symmetric=False),
                gptq(self.weight, hessian, bits=4, block=32, symmetric=False),
            )
        ]
        assert found[1] < 0.5 * found[0]


@pytest.mark.parametrize("options", [{}, {"symmetric": True}, {"method": "hqq"}, {"method": "gptq", "data": "train"}])
def test_four_bits_make_an_eighth(technique, mlp, options):
    node = technique(WEIGHTS, mlp, QuantizeWeights(**options))
    assert size(node.out) < 0.24 * size(mlp)
    assert node.facts["layers"] == 2
    assert error(mlp, node.out) < 0.2
    assert [n.op_type for n in onnx.load(node.out / "model.onnx").graph.node].count("MatMulNBits") == 2


def test_eight_bits_are_closer(technique, mlp):
    node = technique(WEIGHTS, mlp, QuantizeWeights(bits=8))
    assert size(node.out) < 0.4 * size(mlp)
    assert error(mlp, node.out) < 0.01


def test_gptq_is_closer_than_rounding(technique, exported_sequence):
    subject = exported_sequence("transformer")
    plain = technique(WEIGHTS, subject, QuantizeWeights(bits=4, block_size=128))
    mended = technique(WEIGHTS, subject, QuantizeWeights(bits=4, block_size=128, method="gptq", data="train"))
    assert plain.facts["layers"] == mended.facts["layers"] >= 10
    assert error(subject, mended.out) < error(subject, plain.out)
    assert mended.facts["weight_error"] > plain.facts["weight_error"]  # it is the outputs that it keeps


@pytest.mark.parametrize("name", ["transformer", "gru"])
def test_other_architectures_stay_accurate(technique, exported_sequence, name):
    subject = exported_sequence(name)
    node = technique(WEIGHTS, subject, QuantizeWeights(bits=4, block_size=16))
    assert digits.accuracy(node.out) > digits.accuracy(subject) - 0.05


def test_convolutions_have_int8_weights(technique, exported):
    node = technique(WEIGHTS, exported, QuantizeWeights(bits=8, op_types=("Conv", "Gemm")))
    assert node.facts["layers"] == 9
    assert size(node.out) < 0.4 * size(exported)
    assert digits.accuracy(node.out) > digits.accuracy(exported) - 0.01


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_recurrent_layers_have_int8_weights(technique, exported_sequence, name):
    subject = exported_sequence(name)
    node = technique(WEIGHTS, subject, QuantizeWeights(bits=8, op_types=(name.upper(), "Gemm")))
    assert node.facts["layers"] == 2
    weights = {tuple(t.dims): t.data_type for t in onnx.load(node.out / "model.onnx").graph.initializer}
    gates = 3 if name == "gru" else 4
    assert weights[1, gates * 48, 8] == weights[1, gates * 48, 48] == TensorProto.INT8
    assert size(node.out) < 0.45 * size(subject)
    assert error(subject, node.out) < 0.02
    assert digits.accuracy(node.out) > digits.accuracy(subject) - 0.01


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_both_directions_of_a_recurrent_layer(technique, tmp_path, kind):
    torch = pytest.importorskip("torch")
    layer = getattr(torch.nn, kind)(8, 16, num_layers=2, bidirectional=True)
    rows = torch.randn(8, 3, 8)
    (tmp_path / "stack").mkdir()
    torch.onnx.export(layer, (rows,), tmp_path / "stack" / "model.onnx", input_names=["rows"], dynamo=True)
    node = technique(WEIGHTS, tmp_path / "stack", QuantizeWeights(bits=8, op_types=(kind,)))
    assert node.facts["layers"] == 2
    wanted, found = (
        next(iter(digits.outputs(p, {"rows": rows.numpy()}).values())) for p in (tmp_path / "stack", node.out)
    )
    assert 0 < np.abs(found - wanted).mean() < 0.02 * np.abs(wanted).mean()


@pytest.mark.parametrize(("bits", "symmetric"), [(4, False), (4, True), (8, True)])
def test_standard_operators(technique, trained_sequence, bits, symmetric):
    from cbuild_torch.to_onnx.params.export import ExportOnnx

    subject = technique("cbuild_torch.to_onnx.export:export", trained_sequence("transformer"), ExportOnnx(opset=21)).out
    node = technique(WEIGHTS, subject, QuantizeWeights(bits=bits, symmetric=symmetric, format="qdq"))
    model = onnx.load(node.out / "model.onnx")
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert {(4, False): TensorProto.UINT4, (4, True): TensorProto.INT4, (8, True): TensorProto.INT8}[
        bits, symmetric
    ] in kinds
    assert digits.accuracy(node.out) > digits.accuracy(subject) - 0.05
    nbits = technique(WEIGHTS, subject, QuantizeWeights(bits=bits, symmetric=symmetric))
    feeds = {"image": digits.held_out()[0]["image"][:64]}
    one, other = (next(iter(digits.outputs(each.out, feeds).values())) for each in (node, nbits))
    np.testing.assert_allclose(one, other, atol=0.05 * np.abs(one).max())


@pytest.mark.parametrize("form", ["nbits", "qdq"])
def test_a_layer_that_is_used_twice_is_stored_once(technique, tmp_path, form):
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["once"], "first"),
        helper.make_node("Relu", ["once"], ["positive"]),
        helper.make_node("MatMul", ["positive", "w"], ["twice"], "second"),
    ]
    shape = (TensorProto.FLOAT, ["batch", 64])
    proto = models.model(nodes, {"x": shape}, {"twice": shape}, [numpy_helper.from_array(weight, "w")], opset=21)
    made = technique(WEIGHTS, models.save(proto, tmp_path / "m"), QuantizeWeights(bits=8, format=form))
    graph = onnx.load(made.out / "model.onnx").graph
    assert made.facts["layers"] == 2
    assert len(graph.initializer) == 3  # values, scales, zeros
    x = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
    (found,) = digits.outputs(made.out, {"x": x}).values()
    wanted = np.maximum(x @ weight, 0) @ weight
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()


def test_what_does_not_fit_is_explained(technique, exported, mlp):
    def fails(said: str, subject, **params: object) -> str:
        with pytest.raises(UserError, match=said) as error:
            technique(WEIGHTS, subject, QuantizeWeights(**params))
        return error.value.hint or ""

    assert "data: DATASET" in fails("gptq needs samples", mlp, method="gptq")
    assert "opset: 21" in fails("need 21", mlp, format="qdq")
    assert "bits: 8" in fails("Conv take 8-bit", exported, op_types=("Conv",))
    assert "op-types: [Conv]" in fails("has no MatMul", exported, op_types=("MatMul",))
    fails("fractional zero points: it needs", mlp, method="hqq", symmetric=True)
    fails("with 4 bits only", mlp, method="hqq", bits=8)
    fails("no MatMul or Gemm with constant", mlp, exclude=("first", "second"))
