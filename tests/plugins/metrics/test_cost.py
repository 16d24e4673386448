"""MACs, parameters and size, against counts by hand and other tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models as models
import pytest
import torch
from cbuild_metrics.cost.params import Shapes
from cbuild_onnx.model.macs import contraction
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from compressbuild.api import Params, UserError
from compressbuild.api.testing import run_node

F = TensorProto.FLOAT


def measure(
    metric: str, artifact: Path, out: Path, params: Params | None = None, kind: str = "onnx", **world: Any
) -> Any:
    return run_node(
        f"cbuild_metrics.cost.{metric}:{metric}",
        artifact,
        params or Shapes(),
        out,
        kind=kind,
        census="cbuild_onnx.model.census:census",
        **world,
    ).facts


def weight(name: str, *shape: int, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), name=f"the {op}", **attributes)


def single(
    op: str, shape: list[Any], *weights: onnx.TensorProto, opset: int = 17, **attributes: Any
) -> onnx.ModelProto:
    names = " ".join(["x", *(w.name for w in weights)])
    form = {"y": (F, None)}
    return models.model([node(op, names, **attributes)], {"x": (F, shape)}, form, list(weights), opset=opset)


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (single("Conv", ["n", 3, 10, 12], weight("w", 8, 3, 3, 5), strides=[2, 1]), 8 * 4 * 8 * 3 * 3 * 5),
        (single("Conv", ["n", 8, 6, 6], weight("w", 8, 1, 3, 3), group=8, pads=[1] * 4), 8 * 36 * 9),
        (single("Conv", ["n", 4, 20], weight("w", 6, 4, 3), dilations=[2]), 6 * 16 * 4 * 3),
        (single("ConvTranspose", ["n", 4, 5, 5], weight("w", 4, 6, 3, 3), strides=[2, 2]), 4 * 25 * 6 * 9),
        (single("ConvTranspose", ["n", 4, 5, 5], weight("w", 4, 3, 3, 3), group=2), 4 * 25 * 3 * 9),
        (single("MatMul", ["n", 7, 16], weight("w", 16, 24)), 7 * 16 * 24),
        (single("MatMul", ["n", 4, 7, 16], weight("w", 4, 16, 3)), 4 * 7 * 16 * 3),
        (single("Gemm", ["n", 16], weight("w", 10, 16), transB=1), 160),
        (
            single(
                "LSTM",
                [5, "n", 3],
                weight("w", 2, 16, 3),
                weight("r", 2, 16, 4),
                hidden_size=4,
                direction="bidirectional",
            ),
            5 * 2 * 16 * 7,
        ),
        (single("GRU", [5, "n", 3], weight("w", 1, 12, 3), weight("r", 1, 12, 4), hidden_size=4), 5 * 12 * 7),
        (single("Einsum", ["n", 7, 16], weight("w", 16, 24), equation="bij,jk->bik"), 7 * 16 * 24),
        (single("Relu", ["n", 16]), 0),
    ],
    ids=lambda value: value.graph.node[0].op_type if isinstance(value, onnx.ModelProto) else None,
)
def test_known_layers(proto: onnx.ModelProto, expected: int, tmp_path: Path) -> None:
    # The second axis of a recurrent layer's input is the batch, and its first, of 5 steps, looks like a fixed one.
    recurrent = proto.graph.node[0].op_type in ("LSTM", "GRU")
    axes = {"n": 1} if recurrent else {}
    facts = measure("macs", models.save(proto, tmp_path / "m"), tmp_path / "out", Shapes(axes=axes))
    assert facts["value"] * (5 if recurrent else 1) == expected
    assert "uncounted" not in facts


def test_both_operands_of_a_product_may_be_activations(tmp_path: Path) -> None:
    inputs = {"q": (F, ["n", 2, "seq", 8]), "k": (F, ["n", 2, 8, "seq"])}
    proto = models.model([node("MatMul", "q k")], inputs, {"y": (F, None)})
    facts = measure("macs", models.save(proto, tmp_path / "m"), tmp_path / "out", Shapes(axes={"seq": 48}))
    assert facts["value"] == 2 * 48 * 8 * 48
    assert facts["axes"] == {"seq": 48}


@pytest.mark.parametrize("batch", ["batch", 4])
def test_a_whole_network_a_sample(batch: int | str, tmp_path: Path) -> None:
    facts = measure("macs", models.save(models.cnn(batch), tmp_path / "m"), tmp_path / "out")
    assert facts["value"] == models.cnn_macs()
    assert facts["by_operator"] == {"Conv": models.cnn_macs() - 160, "Gemm": 160}
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("scheme", ["u8-affine", "s8-symmetric"])
def test_quantising_changes_no_count(scheme: str, tmp_path: Path) -> None:
    artifact = models.quantized(models.save(models.cnn(), tmp_path / "m"), tmp_path / "q", scheme)
    assert measure("macs", artifact, tmp_path / "a")["value"] == models.cnn_macs()
    assert measure("parameters", artifact, tmp_path / "b")["value"] == models.cnn_parameters()


def test_quantised_operators_count_as_what_they_stand_for(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantFormat, quantize_dynamic, quantize_static

    source = models.save(models.cnn(), tmp_path / "m")

    class Reader:
        rows = iter([{"image": models.images(4)}])

        def get_next(self) -> Any:
            return next(self.rows, None)

    for name in ("static", "dynamic"):
        (tmp_path / name).mkdir()
        paths = str(source / "model.onnx"), str(tmp_path / name / "model.onnx")
        if name == "static":
            quantize_static(*paths, Reader(), quant_format=QuantFormat.QOperator)
        else:
            quantize_dynamic(*paths, op_types_to_quantize=["Conv", "MatMul", "Gemm"])
        facts = measure("macs", tmp_path / name, tmp_path / f"{name}-out")
        assert facts["value"] == models.cnn_macs(), facts
        assert measure("parameters", tmp_path / name, tmp_path / f"{name}-p")["value"] == models.cnn_parameters()


def test_n_bit_weights_are_unpacked(tmp_path: Path) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    proto = single("MatMul", ["n", 64], weight("w", 64, 32))
    quantizer = MatMulNBitsQuantizer(proto, block_size=32, is_symmetric=True)
    quantizer.process()
    artifact = models.save(quantizer.model.model, tmp_path / "m")
    assert {n.op_type for n in quantizer.model.model.graph.node} == {"MatMulNBits"}
    assert measure("macs", artifact, tmp_path / "a")["value"] == 64 * 32
    assert measure("parameters", artifact, tmp_path / "b")["value"] == 64 * 32


def test_operators_it_cannot_count_are_named(tmp_path: Path) -> None:
    proto = models.model(
        [helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", transA=1)],
        {"x": (F, [4, 3])},
        {"y": (F, None)},
        [weight("w", 4, 5)],
        domains=("com.microsoft",),
    )
    facts = measure("macs", models.save(proto, tmp_path / "m"), tmp_path / "out")
    assert facts["uncounted"] == ["FusedMatMul"]


@pytest.mark.parametrize(
    ("equation", "shapes", "expected"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)], 24),
        ("bhid, bhjd -> bhij", [(2, 3, 4, 5), (2, 3, 6, 5)], 2 * 3 * 4 * 5 * 6),
        ("...ij,...jk->...ik", [(7, 2, 3), (7, 3, 4)], 7 * 24),
        ("a...b,b->a...", [(2, 5, 6, 3), (3,)], 2 * 5 * 6 * 3),
        ("ij->ji", [(2, 3)], 0),
        ("i,j", [(2,), (3,)], 6),
    ],
)
def test_contractions(equation: str, shapes: list[tuple[int, ...]], expected: int) -> None:
    assert contraction(equation, shapes) == expected
    if "->" in equation and expected and "..." not in equation:
        arrays = [np.ones(shape) for shape in shapes]
        assert np.einsum(equation, *arrays).sum() == expected  # every one of the products is 1


def test_a_misspelt_axis(tmp_path: Path) -> None:
    proto = models.model([node("Relu", "x")], {"x": (F, ["n", "seq"])}, {"y": (F, None)})
    with pytest.raises(UserError, match="no input has an axis 'sequ', and the axis 'seq' has no size"):
        measure("macs", models.save(proto, tmp_path / "m"), tmp_path / "out", Shapes(axes={"sequ": 3}))
    assert measure("macs", tmp_path / "m", tmp_path / "ok", Shapes(axes={"seq": 3, "other": 1}))["axes"] == {"seq": 3}


def test_a_model_that_does_not_run(tmp_path: Path) -> None:
    proto = models.model([node("MatMul", "x w")], {"x": (F, ["n", "width"])}, {"y": (F, None)}, [weight("w", 4, 5)])
    with pytest.raises(UserError, match="in a run of the model, which failed") as caught:
        measure("macs", models.save(proto, tmp_path / "m"), tmp_path / "out")
    assert "axes" in (caught.value.hint or "")


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.recurrent = nn.LSTM(16, 8, bidirectional=True, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.attention(x, x, x, need_weights=False)
        return self.recurrent(self.encoder(y))[0]


def attention_macs(seq: int) -> int:
    attention = seq * 16 * 48 + 2 * seq * seq * 16 + seq * 16 * 16
    encoder = attention + 2 * seq * 16 * 32
    return attention + encoder + 2 * seq * 4 * 8 * (16 + 8)


def test_torch_counts_what_the_fused_operators_hide() -> None:
    from cbuild_torch.model.macs import _run

    model = Attention().eval()
    with torch.no_grad():
        assert sum(_run(lambda: model(torch.zeros(1, 12, 16))).values()) == attention_macs(12)
    assert torch.backends.mha.get_fastpath_enabled()


def test_torch_and_onnx_agree_on_the_example(
    trained: Path, exported: Path, tmp_path: Path, run_on_digits: Callable[..., Any]
) -> None:
    torch_macs = run_on_digits("cbuild_metrics.cost.macs:macs", trained, Shapes())
    onnx_macs = run_on_digits("cbuild_metrics.cost.macs:macs", exported, Shapes())
    assert torch_macs["value"] == onnx_macs["value"] > 100_000
    assert run_on_digits("cbuild_metrics.cost.parameters:parameters", trained, Shapes())["value"] > 10_000


def test_parameters_of_torch_are_its_own(trained: Path, run_on_digits: Callable[..., Any]) -> None:
    from safetensors import safe_open

    with safe_open(trained / "weights.safetensors", "np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a dict)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    own = {name: array for name, array in arrays.items() if not name.endswith(buffers)}
    facts = run_on_digits("cbuild_metrics.cost.parameters:parameters", trained, Shapes())
    assert facts["value"] == sum(array.size for array in own.values())
    assert facts["nonzero"] == sum(int(np.count_nonzero(array)) for array in own.values())


def test_parameters_of_onnx_leave_out_shapes_and_statistics(tmp_path: Path) -> None:
    proto = models.model(
        [
            node("Conv", "x w", "c"),
            node("BatchNormalization", "c scale bias mean var", "b"),
            node("Reshape", "b shape", "y"),
        ],
        {"x": (F, ["n", 2, 4, 4])},
        {"y": (F, None)},
        [
            numpy_helper.from_array(np.array([[[[0.0]], [[2.0]]]] * 3, np.float32), "w"),
            *(weight(name, 3) for name in ("scale", "bias", "mean", "var")),
            numpy_helper.from_array(np.array([0, 48]), "shape"),
        ],
    )
    facts = measure("parameters", models.save(proto, tmp_path / "m"), tmp_path / "out")
    assert facts == {"value": 3 * 2 + 3 + 3, "nonzero": 3 + 3 + 3}


def test_parameters_of_a_network(tmp_path: Path) -> None:
    artifact = models.save(models.cnn(), tmp_path / "m")
    facts = measure("parameters", artifact, tmp_path / "out")
    assert facts["value"] == models.cnn_parameters()
    assert facts["nonzero"] == models.cnn_parameters() - 10  # the last bias is zero


def test_size_is_all_files(tmp_path: Path) -> None:
    (tmp_path / "m" / "deep").mkdir(parents=True)
    (tmp_path / "m" / "a.bin").write_bytes(b"x" * 100)
    (tmp_path / "m" / "deep" / "b.bin").write_bytes(b"y" * 11)
    facts = measure("size", tmp_path / "m", tmp_path / "out")
    assert facts == {"value": 111, "files": {"a.bin": 100, "deep/b.bin": 11}}
