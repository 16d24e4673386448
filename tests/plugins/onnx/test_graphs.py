from __future__ import annotations

import digits
import numpy as np
import onnx
import onnx_models
import pytest
from cbuild_onnx.convert.params import ConvertBf16, ConvertFp16
from cbuild_onnx.graph.params import ExtractSubgraph, OptimizeOnnx
from cbuild_onnx.model import files
from cbuild_torch.to_onnx.params.export import ExportOnnx
from onnx import TensorProto, helper

from compressbuild.api import UserError

OPTIMIZE = "cbuild_onnx.graph.optimize:optimize"
EXTRACT = "cbuild_onnx.graph.subgraph:extract"


def operators(directory):
    return [node.op_type for node in onnx.load(directory / "model.onnx").graph.node]


@pytest.fixture(scope="session")
def encoder(trained_sequence, tmp_path_factory):
    """The trained transformer as ONNX."""
    out = tmp_path_factory.mktemp("encoder") / "out"
    return digits.apply("cbuild_torch.to_onnx.export:export", trained_sequence("transformer"), ExportOnnx(), out).out


@pytest.fixture
def wasteful(tmp_path):
    """A CNN with nodes that do nothing, and a constant to fold."""
    proto = onnx_models.cnn()
    graph = proto.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.float32([2.0]), "two"))
    graph.output[0].name = "result"
    graph.node.extend(
        [
            helper.make_node("Identity", ["logits"], ["same"], name="idle"),
            helper.make_node("Mul", ["two", "two"], ["four"], name="constant"),
            helper.make_node("Mul", ["same", "four"], ["result"], name="scale"),
        ]
    )
    return onnx_models.save(proto, tmp_path / "wasteful")


@pytest.fixture
def of_ir_3(tmp_path):
    """A CNN that lists its weights among its inputs, as files of IR 3 must."""
    proto = onnx_models.cnn()
    proto.ir_version = 3
    proto.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in proto.graph.initializer
    )
    onnx.checker.check_model(proto)
    return onnx_models.save(proto, tmp_path / "old")


@pytest.mark.parametrize(
    ("run", "params"),
    [
        (OPTIMIZE, OptimizeOnnx(method="slim")),
        (OPTIMIZE, OptimizeOnnx(method="basic")),
        (OPTIMIZE, OptimizeOnnx(method="extended")),
        ("cbuild_onnx.convert.fp16:convert", ConvertFp16()),
        ("cbuild_onnx.convert.bf16:convert", ConvertBf16()),
        (EXTRACT, ExtractSubgraph(outputs=("logits",))),
    ],
    ids=lambda value: None if isinstance(value, str) else f"{type(value).__name__}-{getattr(value, 'method', '')}",
)
def test_weights_among_the_inputs_are_no_inputs_afterwards(technique, of_ir_3, run, params):
    made = technique(run, of_ir_3, params).out
    proto = onnx.load(made / "model.onnx")
    assert [value.name for value in proto.graph.input] == ["image"]
    onnx.checker.check_model(made / "model.onnx")
    if not isinstance(params, ConvertBf16):  # for which the CPU has no kernels
        found, wanted = (digits.outputs(each, {"image": onnx_models.images(3)})["logits"] for each in (made, of_ir_3))
        np.testing.assert_allclose(found, wanted, atol=0.02 * np.abs(wanted).max())


class TestOptimize:
    @pytest.mark.parametrize("method", ["slim", "basic", "extended"])
    def test_needless_nodes_go_and_the_outputs_stay(self, technique, wasteful, method):
        node = technique(OPTIMIZE, wasteful, OptimizeOnnx(method=method))
        assert "Identity" not in operators(node.out)
        assert operators(node.out).count("Mul") < 2
        assert node.facts["nodes"] == len(operators(node.out)) < node.facts["nodes_before"]
        feeds = {"image": onnx_models.images(7)}
        found, wanted = (digits.outputs(made, feeds)["result"] for made in (node.out, wasteful))
        np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-4)
        files.validate(node.out)

    def test_only_standard_operators_unless_asked(self, technique, encoder):
        for method in ("slim", "basic"):
            node = technique(OPTIMIZE, encoder, OptimizeOnnx(method=method))
            assert node.facts["runtime_operators"] == []
            assert [entry.domain for entry in onnx.load(node.out / "model.onnx").opset_import] == [""]
        node = technique(OPTIMIZE, encoder, OptimizeOnnx(method="extended", data="test"))
        assert "com.microsoft.BiasGelu" in node.facts["runtime_operators"]
        assert digits.accuracy(node.out) == digits.accuracy(encoder)

    def test_transformer_patterns_are_fused(self, technique, encoder):
        node = technique(OPTIMIZE, encoder, OptimizeOnnx(method="transformer", heads=4, hidden=32))
        assert operators(node.out).count("SkipLayerNormalization") == 4
        assert operators(node.out).count("BiasGelu") == 2
        assert digits.accuracy(node.out) == digits.accuracy(encoder)

    def test_what_does_not_fit_is_refused(self, technique, wasteful):
        with pytest.raises(UserError, match="no pattern of model type bert was found") as error:
            technique(OPTIMIZE, wasteful, OptimizeOnnx(method="transformer"))
        assert "extended" in (error.value.hint or "")

    def test_a_changed_output_is_refused(self, technique, wasteful):
        with pytest.raises(UserError, match="the optimised model differs from its source"):
            technique(OPTIMIZE, wasteful, OptimizeOnnx(method="extended", atol=0.0, rtol=0.0, data="test"))

    def test_large_weights_stay_beside_the_model(self, technique, wasteful, monkeypatch):
        monkeypatch.setattr(files, "INLINE_LIMIT", 10_000)
        out = technique(OPTIMIZE, wasteful, OptimizeOnnx()).out
        assert sorted(path.name for path in out.iterdir()) == ["model.onnx", "model.onnx.data"]
        again = technique(OPTIMIZE, out, OptimizeOnnx(method="slim")).out
        feeds = {"image": onnx_models.images(3)}
        found, wanted = (digits.outputs(made, feeds)["result"] for made in (again, wasteful))
        np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-4)

    def test_the_bytes_are_the_same_in_another_process(self, technique, encoder, python, tmp_path):
        code = (
            "import digits, pathlib, sys\n"
            "from cbuild_onnx.graph.params import OptimizeOnnx\n"
            "subject, place = map(pathlib.Path, sys.argv[1:])\n"
            "for name in ('slim', 'basic', 'extended', 'transformer'):\n"
            "    params = OptimizeOnnx(method=name, heads=4, hidden=32)\n"
            "    digits.apply('cbuild_onnx.graph.optimize:optimize', subject, params, place / name)\n"
        )
        python("-c", code, encoder, tmp_path / "there", cwd=tmp_path, hash_seed=7)
        for name in ("slim", "basic", "extended", "transformer"):
            here = technique(OPTIMIZE, encoder, OptimizeOnnx(method=name, heads=4, hidden=32)).out
            assert (here / "model.onnx").read_bytes() == (tmp_path / "there" / name / "model.onnx").read_bytes()


class TestExtract:
    """Values of the CNN: image, stem, stem.relu, block0.conv1 …, block0.add, …, pooled, flat, logits."""

    @pytest.fixture
    def cnn(self, tmp_path):
        return onnx_models.save(onnx_models.cnn(), tmp_path / "cnn")

    def test_two_halves_are_the_whole(self, technique, cnn):
        front = technique(EXTRACT, cnn, ExtractSubgraph(outputs=("block0.add",)))
        back = technique(EXTRACT, cnn, ExtractSubgraph(inputs=("block0.add",), outputs=("logits",)))
        assert front.facts["inputs"] == ["image"]
        assert front.facts["nodes"] + back.facts["nodes"] == front.facts["nodes_before"]
        feeds = {"image": onnx_models.images(5)}
        middle = digits.outputs(front.out, feeds)
        assert list(middle) == ["block0.add"]
        found = digits.outputs(back.out, middle)["logits"]
        np.testing.assert_allclose(found, digits.outputs(cnn, feeds)["logits"], atol=1e-5)
        names = {tensor.name for tensor in onnx.load(back.out / "model.onnx").graph.initializer}
        assert "fc.w" in names
        assert "stem.w" not in names

    def test_several_outputs_in_the_order_asked(self, technique, cnn):
        node = technique(EXTRACT, cnn, ExtractSubgraph(outputs=("flat", "stem")))
        assert list(digits.outputs(node.out, {"image": onnx_models.images(2)})) == ["flat", "stem"]

    def test_wrong_names_are_explained(self, technique, cnn):
        for params, message, hint in (
            (ExtractSubgraph(outputs=("logit",)), "'outputs: logit' is not a value", "did you mean 'logits'?"),
            (ExtractSubgraph(outputs=("logits",), inputs=("imag",)), "'inputs: imag' is no", "did you mean 'image'?"),
            (ExtractSubgraph(outputs=("stem",), inputs=("image", "flat")), "'inputs: flat' is needed by no", "leave"),
            (ExtractSubgraph(outputs=("flat", "flat")), "'outputs: flat' occurs twice", ""),
        ):
            with pytest.raises(UserError, match=message) as error:
                technique(EXTRACT, cnn, params)
            assert hint in (error.value.hint or "")

    def test_a_cut_that_forgets_an_input_is_refused(self, technique, tmp_path):
        nodes = [helper.make_node("Mul", ["a", "b"], ["c"]), helper.make_node("Add", ["c", "b"], ["d"])]
        form = (TensorProto.FLOAT, ["n", 3])
        made = onnx_models.save(onnx_models.model(nodes, {"a": form, "b": form}, {"d": form}), tmp_path / "two")
        with pytest.raises(UserError, match="the outputs also need the graph's input 'b'") as error:
            technique(EXTRACT, made, ExtractSubgraph(inputs=("c",), outputs=("d",)))
        assert "add 'b'" in (error.value.hint or "")
        node = technique(EXTRACT, made, ExtractSubgraph(inputs=("c", "b"), outputs=("d",)))
        found = digits.outputs(node.out, {"c": np.ones((2, 3), np.float32), "b": np.ones((2, 3), np.float32)})
        assert (found["d"] == 2).all()
