from __future__ import annotations

import digits
import numpy as np
import onnx
import pytest
from cbuild_onnx.convert.params import ConvertFp16
from cbuild_onnx.model import files
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeStatic
from onnx import TensorProto, numpy_helper

from compressbuild.api import UserError

STATIC = "cbuild_onnx.quantize.static:quantize"
DYNAMIC = "cbuild_onnx.quantize.dynamic:quantize"


def size(directory):
    return sum(path.stat().st_size for path in directory.iterdir())


def zero_points(model: onnx.ModelProto) -> list[np.ndarray]:
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    quantizers = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    return [numpy_helper.to_array(tensors[node.input[2]]) for node in quantizers]


class TestStatic:
    @pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
    @pytest.mark.parametrize("scheme", ["u8-affine", pytest.param("s8-symmetric", marks=pytest.mark.vnni)])
    def test_it_is_smaller_and_as_accurate(self, technique, exported, scheme, method):
        node = technique(STATIC, exported, QuantizeStatic(data="calibration", scheme=scheme, method=method))
        assert size(node.out) < 0.45 * size(exported)
        assert digits.accuracy(node.out) > digits.accuracy(exported) - 0.02
        assert node.facts["samples"] == 100
        assert node.facts["scheme"] == scheme
        files.validate(node.out)

    def test_symmetric_zero_points_are_zero_and_no_bias_is_integer(self, technique, exported, model_of):
        out = technique(STATIC, exported, QuantizeStatic(data="calibration", scheme="s8-symmetric")).out
        model = model_of(out)
        found = zero_points(model)
        assert len(found) > 20
        assert all(point.dtype == np.int8 and not point.any() for point in found)
        types = {tensor.data_type for tensor in model.graph.initializer if tensor.dims}
        assert TensorProto.INT32 not in types
        assert TensorProto.INT8 in types

    def test_affine_activations_are_unsigned_with_zero_points_where_they_help(self, technique, exported, model_of):
        model = model_of(technique(STATIC, exported, QuantizeStatic(data="calibration", scheme="u8-affine")).out)
        activations = [point for point in zero_points(model) if point.dtype == np.uint8]
        assert any(point.any() for point in activations)
        weights = [t for t in model.graph.initializer if t.data_type == TensorProto.INT8 and len(t.dims) == 4]
        assert len(weights) == 8  # every convolution

    def test_tensorrt_rtx_accepts_the_symmetric_scheme_only(self, technique, exported):
        trt = pytest.importorskip("tensorrt_rtx")

        def parses(scheme: str) -> bool:
            out = technique(STATIC, exported, QuantizeStatic(data="calibration", scheme=scheme)).out
            builder = trt.Builder(trt.Logger(trt.Logger.INTERNAL_ERROR))
            network = builder.create_network(0)
            parser = trt.OnnxParser(network, builder.logger)
            if not parser.parse_from_file(str(out / "model.onnx")):
                return False
            config = builder.create_builder_config()
            config.num_compute_capabilities = 1
            config.set_compute_capability(trt.ComputeCapability.SM89, 0)
            profile = builder.create_optimization_profile()
            profile.set_shape("image", (1, 1, 8, 8), (8, 1, 8, 8), (64, 1, 8, 8))
            config.add_optimization_profile(profile)
            return builder.build_serialized_network(network, config) is not None

        assert parses("s8-symmetric")
        assert not parses("u8-affine")

    def test_weights_are_quantized_per_channel(self, technique, exported, model_of):
        def scales(per_channel: bool) -> set[int]:
            params = QuantizeStatic(data="calibration", scheme="u8-affine", per_channel=per_channel)
            model = model_of(technique(STATIC, exported, params).out)
            tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
            nodes = [n for n in model.graph.node if n.op_type == "DequantizeLinear"]
            return {tensors[n.input[1]].size for n in nodes if tensors.get(n.input[0], np.zeros(0)).ndim == 4}

        assert scales(True) == {16, 32}
        assert scales(False) == {1}

    def test_the_calibration_data_matters(self, technique, exported):
        made = {
            samples: (technique(STATIC, exported, params).out / "model.onnx").read_bytes()
            for samples in (8, 100)
            for params in [QuantizeStatic(data="calibration", scheme="u8-affine", samples=samples, batch_size=8)]
        }
        assert made[8] != made[100]

    def test_minmax_does_not_depend_on_the_batch_size(self, technique, exported):
        made = [
            (technique(STATIC, exported, params).out / "model.onnx").read_bytes()
            for size in (7, 100)
            for params in [QuantizeStatic(data="calibration", scheme="u8-affine", batch_size=size)]
        ]
        assert made[0] == made[1]

    def test_progress_counts_samples(self, technique, exported):
        node = technique(STATIC, exported, QuantizeStatic(data="calibration", scheme="u8-affine", batch_size=40))
        assert [(report["done"], report["total"]) for report in node.progress] == [(40, 100), (80, 100), (100, 100)]

    def test_excluded_nodes_stay_float(self, technique, exported, model_of):
        first = next(node.name for node in model_of(exported).graph.node if node.op_type == "Conv")
        params = QuantizeStatic(data="calibration", scheme="u8-affine", exclude=(first,))
        node = technique(STATIC, exported, params)
        kept = [
            t for t in model_of(node.out).graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 4
        ]
        assert len(kept) == 1
        assert node.facts["excluded"] == 1
        only = QuantizeStatic(data="calibration", scheme="u8-affine", op_types=("Gemm",))
        kept = [t for t in model_of(technique(STATIC, exported, only).out).graph.initializer if len(t.dims) == 4]
        assert {t.data_type for t in kept} == {TensorProto.FLOAT}

    def test_a_model_with_external_data(self, technique, exported, tmp_path):
        given = tmp_path / "given"
        given.mkdir()
        model = onnx.load(exported / "model.onnx")
        onnx.save_model(model, given / "net.onnx", save_as_external_data=True, location="net.data")
        for run, params in (
            (STATIC, QuantizeStatic(data="calibration", scheme="u8-affine")),
            ("cbuild_onnx.convert.fp16:convert", ConvertFp16()),
            (DYNAMIC, QuantizeDynamic()),
        ):
            out = technique(run, given, params).out
            assert [path.name for path in out.iterdir()] == ["model.onnx"]
            assert digits.accuracy(out) > digits.accuracy(exported) - 0.02

    def test_a_fixed_batch_gets_full_batches(self, technique, exported, tmp_path):
        model = onnx.load(exported / "model.onnx")
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 30
        del model.graph.value_info[:]
        (tmp_path / "fixed").mkdir()
        files.write(model, tmp_path / "fixed")
        node = technique(STATIC, tmp_path / "fixed", QuantizeStatic(data="calibration", scheme="u8-affine"))
        assert node.facts["samples"] == 90

    def test_a_plain_model_is_prepared_without_torch(self, exported, python, tmp_path):
        code = (
            "import digits, sys; from pathlib import Path; from cbuild_onnx.quantize.params import QuantizeStatic\n"
            "params = QuantizeStatic(data='calibration', scheme='u8-affine')\n"
            "digits.apply('cbuild_onnx.quantize.static:quantize', Path(sys.argv[1]), params, Path(sys.argv[2]))\n"
            "print(sorted({'torch', 'sympy'} & set(sys.modules)))"
        )
        assert python("-c", code, exported, tmp_path / "out", cwd=tmp_path).splitlines()[-1] == "[]"

    def test_what_does_not_fit_is_explained(self, technique, exported):
        def fails(said: str, subject=exported, **params: object) -> None:
            with pytest.raises(UserError, match=said):
                technique(STATIC, subject, QuantizeStatic(**{"data": "calibration", "scheme": "u8-affine", **params}))

        fails("'scheme: auto' was not resolved", scheme="auto")
        fails("s8-symmetric has int8 activations", scheme="s8-symmetric", activations="uint8")
        fails("'exclude: nothing' matches no node", exclude=("nothing",))
        fails("nothing could be quantized", op_types=("LSTM",))
        done = technique(STATIC, exported, QuantizeStatic(data="calibration", scheme="u8-affine")).out
        fails("quantized already", subject=done)


class TestDynamic:
    def images(self):
        return {"image": digits.held_out()[0]["image"]}

    def test_it_is_smaller_and_close(self, technique, mlp, model_of):
        node = technique(DYNAMIC, mlp, QuantizeDynamic())
        assert size(node.out) < 0.4 * size(mlp)
        assert node.facts["quantized"] == 2
        assert [n.op_type for n in model_of(node.out).graph.node].count("MatMulInteger") == 2
        assert self.error(mlp, node.out) < 0.02

    def test_per_channel_is_closer(self, technique, mlp):
        channel = technique(DYNAMIC, mlp, QuantizeDynamic()).out
        tensor = technique(DYNAMIC, mlp, QuantizeDynamic(per_channel=False)).out
        assert self.error(mlp, channel) < self.error(mlp, tensor)

    def error(self, one, other) -> float:
        wanted, found = (digits.outputs(each, self.images())["logits"] for each in (one, other))
        return float(np.abs(found - wanted).mean() / np.abs(wanted).mean())

    def test_excluded_nodes_stay_float(self, technique, mlp):
        facts = technique(DYNAMIC, mlp, QuantizeDynamic(weights="int8", exclude=("first",))).facts
        assert (facts["quantized"], facts["excluded"], facts["weights"]) == (1, 1, "int8")

    def test_a_gemm_is_quantized_and_convolutions_are_left_alone(self, technique, exported, model_of):
        out = technique(DYNAMIC, exported, QuantizeDynamic()).out
        operators = [node.op_type for node in model_of(out).graph.node]
        assert (operators.count("MatMulInteger"), operators.count("Conv")) == (1, 8)
        assert digits.accuracy(out) > digits.accuracy(exported) - 0.02

    def test_a_model_with_nothing_to_quantize_is_refused(self, technique, exported, mlp):
        with pytest.raises(UserError, match="none of LSTM to quantize") as error:
            technique(DYNAMIC, exported, QuantizeDynamic(op_types=("LSTM",)))
        assert "quantize.static" in (error.value.hint or "")
        with pytest.raises(UserError, match="no operator could be quantized"):
            technique(DYNAMIC, mlp, QuantizeDynamic(exclude=("*",)))
