from __future__ import annotations

import logging
from importlib.util import find_spec

import digits
import numpy as np
import onnx
import pytest
from cbuild_onnx.model import files
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.to_onnx.params.export import ExportOnnx

from compressbuild.api import UserError
from compressbuild.api.testing import run_node

EXPORT = "cbuild_torch.to_onnx.export:export"


def images(count):
    return {"image": np.random.default_rng(count).standard_normal((count, 1, 8, 8)).astype(np.float32)}


@pytest.mark.parametrize("count", [1, 5, 64])
def test_outputs_agree_at_every_batch_size(trained, exported, count):
    wanted, found = digits.outputs(trained, images(count)), digits.outputs(exported, images(count))
    assert list(wanted) == list(found) == ["output"]
    np.testing.assert_allclose(found["output"], wanted["output"], atol=1e-4, rtol=1e-3)


def test_named_axes_are_dynamic_and_nothing_says_where_it_was_made(exported):
    model = onnx.load(exported / "model.onnx")
    (image,) = model.graph.input
    assert (image.name, [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]) == (
        "image",
        ["batch", 1, 8, 8],
    )
    assert model.opset_import[0].version == 20
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    content = (exported / "model.onnx").read_bytes()
    assert b"stack" not in content
    assert b"model.py" not in content
    files.validate(exported)


class Kept(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="the exporter warns only where it is not installed")
def test_the_log_does_not_speak_of_a_library_that_the_model_does_not_use(tmp_path):
    """A failure shows the last lines of the log: they are for its cause."""
    source = digits.source(tmp_path / "source", width=8)
    kept, logger = Kept(), logging.getLogger("torch.onnx._internal.exporter._registration")
    logger.addHandler(kept)
    try:
        digits.apply(EXPORT, source, ExportOnnx(), tmp_path / "out")
        assert kept.said == []
        logger.warning("said at another time")
        assert kept.said == ["said at another time"], "only while the export runs"
    finally:
        logger.removeHandler(kept)


def test_a_comment_in_the_users_code_changes_no_byte(tmp_path, monkeypatch):
    made = {}
    for name, prefix in (("plain", ""), ("commented", "# a comment\n\n\n# and another\n")):
        place = tmp_path / name
        place.mkdir()
        (place / "commented_net.py").write_text(prefix + (digits.ROOT / "examples/digits/model.py").read_text())
        monkeypatch.syspath_prepend(place)
        monkeypatch.delitem(__import__("sys").modules, "commented_net", raising=False)
        factory = "commented_net:build"
        params = {"factory": factory, "args": {"width": 8}, "inputs": [["image", ["batch", 1, 8, 8], "float32"]]}
        source = run_node("cbuild_torch.model.source:init", None, params, place / "source", factories=(factory,)).out
        out = run_node(EXPORT, source, ExportOnnx(), place / "out", factories=(factory,)).out
        made[name] = (out / "model.onnx").read_bytes()
    assert made["plain"] == made["commented"]


def test_a_pruned_model_exports_smaller(technique, trained, exported):
    pruned = technique("cbuild_torch.prune.channels:prune", trained, PruneChannels(ratio=0.5)).out
    out = technique(EXPORT, pruned, ExportOnnx()).out
    assert (out / "model.onnx").stat().st_size < 0.5 * (exported / "model.onnx").stat().st_size
    np.testing.assert_allclose(
        digits.outputs(out, images(4))["output"], digits.outputs(pruned, images(4))["output"], atol=1e-4, rtol=1e-3
    )


def test_two_inputs_by_name_and_a_mapping_of_outputs(technique, toy):
    made = toy("two_inputs", inputs=[["left", ["n", 4], "float32"], ["right", ["n", 6], "float32"]])
    out = technique(EXPORT, made, ExportOnnx()).out
    feeds = {"left": np.ones((3, 4), np.float32), "right": np.full((3, 6), 2, np.float32)}
    found, wanted = digits.outputs(out, feeds), digits.outputs(made, feeds, ("toy_models:two_inputs",))
    assert list(found) == ["logits", "norm"]
    for name in found:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-4, rtol=1e-3)


def test_outputs_are_named_as_asked(technique, toy):
    made = toy("two_inputs", inputs=[["left", ["n", 4], "float32"], ["right", ["n", 6], "float32"]])
    out = technique(EXPORT, made, ExportOnnx(outputs=("scores", "length"))).out
    feeds = {"left": np.ones((3, 4), np.float32), "right": np.full((3, 6), 2, np.float32)}
    found, wanted = digits.outputs(out, feeds), digits.outputs(made, feeds, ("toy_models:two_inputs",))
    assert list(found) == ["scores", "length"]
    np.testing.assert_allclose(found["length"], wanted["norm"], atol=1e-4, rtol=1e-3)
    with pytest.raises(UserError, match="gives 1 names, but the model has 2 outputs: logits, norm"):
        technique(EXPORT, made, ExportOnnx(outputs=("scores",)))


@pytest.mark.parametrize(
    ("given", "outputs"),
    [
        ("ids", ("embedding", "linear")),
        ("ids", ("weight", "relu")),
        ("matmul", ("table.weight", "head.bias")),
        ("embedding", ("embedding_value", "val_0")),
        ("cbuild.input.0", ("cbuild.output.1", "cbuild.output.0")),
    ],
)
def test_inputs_and_outputs_may_have_the_name_of_any_value_within(technique, toy, given, outputs):
    made = toy("telling", inputs=[[given, ["n", "tokens"], "int64"]])
    out = technique(EXPORT, made, ExportOnnx(outputs=outputs)).out
    feeds = {given: np.arange(6).reshape(2, 3)}
    wanted = digits.outputs(made, feeds, ("toy_models:telling",))
    found = digits.outputs(out, feeds)
    assert tuple(found) == outputs
    for name, value in zip(outputs, wanted.values(), strict=True):
        np.testing.assert_allclose(found[name], value, atol=1e-4, rtol=1e-3)


def test_integer_inputs_and_a_second_dynamic_axis(technique, toy):
    made = toy("tied", inputs=[["ids", ["batch", "length"], "int64"]])
    out = technique(EXPORT, made, ExportOnnx(sizes={"length": 7})).out
    feeds = {"ids": np.arange(15).reshape(3, 5)}
    wanted = digits.outputs(made, feeds, ("toy_models:tied",))["output"]
    np.testing.assert_allclose(digits.outputs(out, feeds)["output"], wanted, atol=1e-4, rtol=1e-3)


def test_large_weights_go_to_a_file_beside_the_model(technique, trained, exported, monkeypatch):
    monkeypatch.setattr(files, "INLINE_LIMIT", 10_000)
    out = technique(EXPORT, trained, ExportOnnx()).out
    assert sorted(path.name for path in out.iterdir()) == ["model.onnx", "model.onnx.data"]
    files.validate(out)
    assert np.array_equal(digits.outputs(out, images(4))["output"], digits.outputs(exported, images(4))["output"])
    (out / "model.onnx.data").unlink()
    with pytest.raises(ValueError, match=r"model\.onnx\.data"):
        files.validate(out)


def test_a_difference_beyond_the_tolerance_fails(technique, trained):
    with pytest.raises(UserError, match="the exported model differs from its source: output 'output' by up to"):
        technique(EXPORT, trained, ExportOnnx(atol=0.0, rtol=0.0, data="test"))


def test_a_model_that_takes_any_number_of_tensors(technique, toy):
    assert technique(EXPORT, toy("variadic"), ExportOnnx()).facts["nodes"] > 0


def test_what_cannot_be_exported_is_explained(technique, toy, tmp_path):
    with pytest.raises(
        UserError, match=r"torch cannot export this model: .*, at toy_models\.py:\d+: .*if x\.sum"
    ) as error:
        technique(EXPORT, toy("branching"), ExportOnnx())
    assert "control flow" in (error.value.hint or "")
    free = toy("mlp", inputs=[["image", ["batch", 1, "height", 8], "float32"]])
    with pytest.raises(UserError, match="accepts only 8 for the axis 'height' of input 'image'") as error:
        technique(EXPORT, free, ExportOnnx(sizes={"height": 8}))
    assert "write the number there" in (error.value.hint or "")
    with pytest.raises(UserError, match="no input has an axis 'width'"):
        technique(EXPORT, toy("mlp"), ExportOnnx(sizes={"width": 8}))
