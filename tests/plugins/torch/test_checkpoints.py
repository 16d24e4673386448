"""What checkpoints bring, and what a model of several outputs is called: it works, or one line says what to write."""

from __future__ import annotations

import checkpoint_models
import numpy as np
import pytest
import torch
from cbuild_onnx.model.runner import OnnxRunner
from cbuild_torch.model.module import load_model
from cbuild_torch.model.runner import load
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.prune.params.magnitude import PruneMagnitude
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.to_onnx.params.qat import QuantizeQat
from cbuild_torch.train.params import Distill, Finetune

from compressbuild.api import UserError
from compressbuild.api.testing import make_context, run_node
from compressbuild.api.work import WorkInput

EXPORT, QAT = "cbuild_torch.to_onnx.export:export", "cbuild_torch.to_onnx.qat:quantize"
FINETUNE, DISTILL = "cbuild_torch.train.finetune:train", "cbuild_torch.train.distill:distill"
WORLD = {
    "factories": tuple(f"checkpoint_models:{name}" for name in checkpoint_models.FACTORIES),
    "datasets": {name: f"checkpoint_models:{name}" for name in ("texts", "pictures", "unlabelled")},
}


@pytest.fixture
def source(tmp_path):
    def make(name, inputs, weights=None, seed=0):
        params = {"factory": f"checkpoint_models:{name}", "args": {}, "weights": weights, "inputs": inputs}
        out = tmp_path / f"source-{name}-{seed}"
        return run_node("cbuild_torch.model.source:init", None, params, out, seed=seed, root=tmp_path, **WORLD).out

    return make


def taught(model, teacher, params, out):
    world = {**WORLD, "inputs": {"teacher": WorkInput(path=str(teacher), kind="torch-model")}}
    return run_node(DISTILL, model, params, out, references={"t": "teacher"}, **world)


def test_a_bfloat16_model_runs_is_pruned_trained_and_taught(source, tmp_path):
    model = source("words", checkpoint_models.IDS)
    context = make_context(tmp_path / "context", **WORLD)
    ids = np.arange(24).reshape(2, 12)
    found = load(context, model)({"ids": ids})["output"]
    with torch.no_grad():
        wanted = load_model(context, model)(torch.from_numpy(ids))
    assert found.dtype == np.float32
    assert np.array_equal(found, wanted.float().numpy())
    for run, params in (
        ("cbuild_torch.prune.magnitude:prune", PruneMagnitude(sparsity=0.5)),
        ("cbuild_torch.prune.channels:prune", PruneChannels(ratio=0.5)),
        (FINETUNE, Finetune(data="texts", epochs=1)),
    ):
        made = run_node(run, model, params, tmp_path / params.__class__.__name__, **WORLD).out
        assert {value.dtype for value in load_model(context, made).parameters()} == {torch.bfloat16}
    node = taught(
        model,
        source("words", checkpoint_models.IDS, seed=1),
        Distill(teacher="t", data="texts", epochs=1),
        tmp_path / "t",
    )
    assert np.isfinite(node.facts["loss"])


@pytest.mark.parametrize(
    ("run", "params"), [(EXPORT, ExportOnnx()), (QAT, QuantizeQat(data="texts", scheme="u8-affine"))]
)
def test_what_onnx_cannot_hold_is_refused(source, tmp_path, run, params):
    with pytest.raises(UserError, match="the model is in bfloat16") as error:
        run_node(run, source("words", checkpoint_models.IDS), params, tmp_path / "out", **WORLD)
    assert "'.float()' in the factory" in (error.value.hint or "")


def test_float32_inputs_of_a_bfloat16_model_are_named(source, tmp_path):
    runner = load(make_context(tmp_path / "context", **WORLD), source("narrow", checkpoint_models.X))
    with pytest.raises(UserError, match="computes in bfloat16, but its inputs are float32") as error:
        runner({"x": np.zeros((2, 4), np.float32)})
    assert "x.to(torch.bfloat16)" in (error.value.hint or "")


def test_an_output_with_the_name_of_an_input(source, tmp_path):
    model = source("echo", checkpoint_models.X)
    out = run_node(EXPORT, model, ExportOnnx(), tmp_path / "out", **WORLD).out
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    found = OnnxRunner(out / "model.onnx", threads=1)({"x": x})
    wanted = load(make_context(tmp_path / "context", **WORLD), model)({"x": x})
    assert list(found) == ["x_output_output", "x_output", "norm"]
    for one, other in zip(found.values(), wanted.values(), strict=True):
        assert np.allclose(one, other, atol=1e-5)


def test_names_that_only_from_pretrained_turns(source, tmp_path):
    checkpoint_models.vit().save_pretrained(tmp_path / "saved")
    with pytest.raises(UserError, match=r"the file lacks .* and \d+ more; the module has no .* and \d+ more") as error:
        source("vit", checkpoint_models.IMAGE, weights="saved/model.safetensors")
    assert len(str(error.value)) < 400
    assert "from_pretrained(DIRECTORY, local_files_only=True)" in (error.value.hint or "")


@pytest.mark.parametrize("name", ["yolos", "detr"])
def test_a_detector_is_taught(source, tmp_path, name):
    model, teacher = (source(name, checkpoint_models.IMAGE, seed=seed) for seed in (0, 1))
    node = taught(model, teacher, Distill(teacher="t", data="pictures", epochs=1, alpha=1.0), tmp_path / "one")
    assert node.facts["outputs"] == ["logits"]
    assert "pred_boxes" in node.facts["left_out"]
    match = {"logits": "kl", "pred_boxes": "mse"}
    node = taught(
        model, teacher, Distill(teacher="t", data="pictures", epochs=1, alpha=1.0, match=match), tmp_path / "two"
    )
    assert node.facts["outputs"] == ["logits", "pred_boxes"]
    with pytest.raises(UserError, match=r"labels 0…4 of shape \[N, 6\] do not fit an output of shape \[8, 10, 5\]"):
        taught(model, teacher, Distill(teacher="t", data="pictures", epochs=1, batch_size=8), tmp_path / "three")


def test_labels_that_are_absent(source, tmp_path):
    with pytest.raises(UserError, match="batch 0 of the dataset has no labels") as error:
        run_node(FINETUNE, source("words", checkpoint_models.IDS), Finetune(data="unlabelled"), tmp_path / "o", **WORLD)
    assert "np.zeros(len(inputs))" in (error.value.hint or "")
