"""An exported model is right at every size that torch takes, or it is not published."""

from __future__ import annotations

import baking_models
import numpy as np
import pytest
from cbuild_onnx.model.runner import OnnxRunner
from cbuild_torch.model.runner import load
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.to_onnx.params.qat import QuantizeQat
from processor import NARROW

from compressbuild.api import UserError
from compressbuild.api.testing import make_context, run_node

EXPORT, QAT = "cbuild_torch.to_onnx.export:export", "cbuild_torch.to_onnx.qat:quantize"
WORLD = {"factories": ("baking_models:build",), "datasets": {"large": "baking_models:large"}}


@pytest.fixture
def source(tmp_path):
    def make(name, inputs=None):
        inputs = inputs or baking_models.INPUTS.get(name, baking_models.SERIES)
        params = {"factory": "baking_models:build", "args": {"name": name}, "weights": None, "inputs": inputs}
        return run_node("cbuild_torch.model.source:init", None, params, tmp_path / "source", **WORLD).out

    return make


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("area", "height"),
        ("padded", "height"),
        ("pooled", "height"),
        ("last", "time"),
        ("alone", "batch"),
        ("small", "time"),
    ],
)
def test_a_size_that_the_code_bakes_in_is_named(source, tmp_path, name, axis):
    with pytest.raises(UserError, match=f"so it fixes the axis '{axis}'") as error:
        run_node(EXPORT, source(name), ExportOnnx(), tmp_path / "out", **WORLD)
    assert "write the number in 'inputs:'" in (error.value.hint or "")


def test_a_model_that_takes_none_of_the_usual_sizes(source, tmp_path):
    """The example's size is asked for; the file is then tried beside it, too."""
    model = source("long")
    with pytest.raises(UserError, match="does not take an example of batch = 2, time = 16: ") as error:
        run_node(EXPORT, model, ExportOnnx(), tmp_path / "out", **WORLD)
    assert error.value.hint == "say a size that it takes: 'sizes: {time: …}'"
    with pytest.raises(UserError, match=r"right at .*time = 280 and wrong at .*time = 351"):
        run_node(EXPORT, model, ExportOnnx(sizes={"time": 280}), tmp_path / "out", **WORLD)


def test_the_number_in_the_inputs_is_the_way_out(source, tmp_path):
    model = source("area", [["x", ["batch", 3, 24, 20], "float32"]])
    out = run_node(EXPORT, model, ExportOnnx(), tmp_path / "out", **WORLD).out
    x = np.random.default_rng(0).standard_normal((5, 3, 24, 20)).astype(np.float32)
    wanted = load(make_context(tmp_path / "context", **WORLD), model)({"x": x})["output"]
    assert np.allclose(OnnxRunner(out / "model.onnx", threads=1)({"x": x})["output"], wanted, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 60), (4, 7)])
def test_what_bakes_nothing_in_is_right_at_any_size(source, tmp_path, shape):
    model = source("fine")
    out = run_node(EXPORT, model, ExportOnnx(), tmp_path / "out", **WORLD).out
    rng = np.random.default_rng(shape)
    mask = (np.arange(shape[1]) < rng.integers(1, shape[1] + 1, (shape[0], 1))).astype(np.int64)
    feeds = {"ids": rng.integers(0, 50, shape), "attention_mask": mask}
    wanted = load(make_context(tmp_path / "context", **WORLD), model)(feeds)["output"]
    assert np.allclose(OnnxRunner(out / "model.onnx", threads=1)(feeds)["output"], wanted, atol=1e-5)


@pytest.mark.parametrize("sizes", [{}, {"height": 32, "width": 32}])
def test_quantization_aware_training_names_it_before_it_trains(source, tmp_path, sizes):
    params = QuantizeQat(data="large", epochs=1, scheme="u8-affine", sizes=sizes)
    with pytest.raises(UserError, match=r"the captured graph is right at .* so it fixes the axis 'height'"):
        run_node(QAT, source("area"), params, tmp_path / "out", **WORLD)


def test_quantization_aware_training_of_one_size(source, tmp_path):
    model = source("area", [["x", ["batch", 3, 32, 32], "float32"]])
    params = QuantizeQat(data="large", epochs=1, scheme="u8-affine", reduce_range=NARROW)
    out = run_node(QAT, model, params, tmp_path / "out", **WORLD).out
    x = baking_models.large()[0][0]
    for count in (1, 16):
        found = OnnxRunner(out / "model.onnx", threads=1)({"x": x[:count]})["output"]
        wanted = load(make_context(tmp_path / f"context-{count}", **WORLD), model)({"x": x[:count]})["output"]
        assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()
