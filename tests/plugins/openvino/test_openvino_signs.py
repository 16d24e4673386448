"""Scales of mixed signs in front of a FakeQuantize, which OpenVINO folds wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import digits
import numpy as np
import onnx_models as models
import pytest
from cbuild_onnx.quantize.params import QuantizeStatic
from cbuild_openvino.artifact import read
from cbuild_openvino.quantize.params import OpenVinoQuantize
from cbuild_openvino.runner import load
from cbuild_openvino.settings import OpenVinoSettings
from cbuild_openvino.signs import keep_signs
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.to_onnx.params.qat import QuantizeQat
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compressbuild.api import Params, UserError
from compressbuild.api.testing import make_context, run_node

COMPILE = "cbuild_openvino.compile:compile"
FACTORIES = {"build": "signed_models:build", "rows": "signed_models:rows"}
CHANNELS = 8
RNG = np.random.default_rng(0)
SCALE = (RNG.uniform(0.5, 1.5, (1, CHANNELS, 1, 1)) * np.where(np.arange(CHANNELS) == 3, -1, 1)[:, None, None]).astype(
    np.float32
)
CONSTANTS = {
    "scale": SCALE,
    "inverse": 1 / SCALE,
    "gamma": SCALE.reshape(-1),
    "zeros": np.zeros(CHANNELS, np.float32),
    "ones": np.ones(CHANNELS, np.float32),
    "quarter": np.float32(0.25),
    "flat": np.int64([0, CHANNELS, -1]),
    "square": np.int64([0, CHANNELS, 6, 6]),
    "kernel": RNG.normal(0, 0.3, (CHANNELS, CHANNELS, 1, 1)).astype(np.float32),
    "step": np.float32(0.03),
    "zero": np.uint8(120),
}
WAYS = {
    "Mul": [helper.make_node("Mul", ["scale", "image"], ["made"])],
    "Div": [helper.make_node("Div", ["image", "inverse"], ["made"])],
    "an offset": [
        helper.make_node("Mul", ["image", "scale"], ["a"]),
        helper.make_node("Add", ["a", "quarter"], ["made"]),
    ],
    "BatchNormalization": [
        helper.make_node("BatchNormalization", ["image", "gamma", "zeros", "zeros", "ones"], ["made"])
    ],
    "Reshape": [
        helper.make_node("Mul", ["image", "scale"], ["a"]),
        helper.make_node("Reshape", ["a", "flat"], ["b"]),
        helper.make_node("Reshape", ["b", "square"], ["made"]),
    ],
}
COMPUTED = [
    helper.make_node("Sign", ["scale"], ["sign"]),
    helper.make_node("Abs", ["scale"], ["size"]),
    helper.make_node("Mul", ["image", "size"], ["a"]),
    helper.make_node("Mul", ["a", "sign"], ["made"]),
]


def model(nodes: list[NodeProto]) -> ModelProto:
    """What ``nodes`` make of the image, in 8 bits, through a convolution."""
    nodes = [
        *nodes,
        helper.make_node("QuantizeLinear", ["made", "step", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["dq"]),
        helper.make_node("Conv", ["dq", "kernel"], ["answer"]),
    ]
    form = ["batch", CHANNELS, 6, 6]
    graph = helper.make_graph(
        nodes,
        "signs",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, form)],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, form)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in CONSTANTS.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("way", WAYS)
def test_a_scale_of_mixed_signs_is_computed_right(way: str, tmp_path: Path) -> None:
    node = run_node(
        COMPILE, models.save(model(WAYS[way]), tmp_path / "onnx"), OpenVinoSettings(), tmp_path / "out", kind="onnx"
    )
    assert node.facts["sqnr_db"] > 60, "-3 where OpenVINO folds it"
    assert keep_signs(read(node.out)) == 0, "what is written is right for other programs too"


def test_one_that_is_not_recognised_is_refused_by_name(tmp_path: Path) -> None:
    source = models.save(model(COMPUTED), tmp_path / "onnx")
    with pytest.raises(UserError, match=r"output 'answer'.*SQNR"):
        run_node(COMPILE, source, OpenVinoSettings(), tmp_path / "out", kind="onnx")


def test_scales_of_one_sign_stay_as_they_are(tmp_path: Path) -> None:
    from cbuild_openvino.artifact import read_onnx

    nodes = [helper.make_node("Mul", ["image", "size"], ["made"]), helper.make_node("Abs", ["scale"], ["size"])][::-1]
    place = models.save(model(nodes), tmp_path / "onnx")
    (tmp_path / "scratch").mkdir()
    graph = read_onnx(place / "model.onnx", tmp_path / "scratch")
    assert not any(each.get_friendly_name().endswith("/signs") for each in graph.get_ops())


@pytest.fixture(scope="module", params=FACTORIES)
def signed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits.source(tmp_path_factory.mktemp("signed") / "source", factory=FACTORIES[request.param])


@pytest.fixture(scope="module")
def exported(signed: Path) -> Path:
    return apply("cbuild_torch.to_onnx.export:export", signed, ExportOnnx(), signed.with_name("onnx"))


def apply(run: str, subject: Path, params: Params, out: Path) -> Path:
    return digits.apply(run, subject, params, out, factories=tuple(FACTORIES.values())).out


QUANTIZERS: dict[str, tuple[str, str, Any]] = {
    "quantize.static": (
        "exported",
        "cbuild_onnx.quantize.static:quantize",
        QuantizeStatic(data="calibration", scheme="u8-affine"),
    ),
    "quantize.qat": (
        "signed",
        "cbuild_torch.to_onnx.qat:quantize",
        QuantizeQat(data="train", epochs=1, lr=1e-7, scheme="u8-affine", batch_size=256),
    ),
    "openvino.quantize": (
        "exported",
        "cbuild_openvino.quantize.quantize:quantize",
        OpenVinoQuantize(data="calibration"),
    ),
}


@pytest.mark.parametrize("technique", QUANTIZERS)
def test_what_our_quantizers_make_of_them_is_right_on_openvino(
    technique: str, exported: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    start, run, params = QUANTIZERS[technique]
    made = apply(run, request.getfixturevalue(start), params, tmp_path / "int8")
    out = apply(COMPILE, made, OpenVinoSettings(), tmp_path / "compiled")
    feeds, _ = digits.held_out()
    wanted = digits.outputs(exported, feeds)["output"]
    found = load(make_context(tmp_path / "ctx"), out, OpenVinoSettings())(feeds)["output"]
    least = 20 if technique == "openvino.quantize" else 25  # NNCF's ranges are means over the samples: 23 dB of 'rows'
    assert 10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum()) > least, "below 5 where OpenVINO folds it"
