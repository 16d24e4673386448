from __future__ import annotations

import json

import digits
import numpy as np
import pytest
import torch
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.prune.params.heads import PruneHeads
from cbuild_torch.prune.params.layers import PruneLayers
from cbuild_torch.prune.params.magnitude import PruneMagnitude
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.train.params import Finetune, Train
from safetensors.torch import load_file, save_file

from compressbuild.api import UserError

LAYERS = "cbuild_torch.prune.depth:prune"
FINETUNE = "cbuild_torch.train.finetune:train"
BERT = ("pruning_models:bert",)


def weights(directory):
    return load_file(directory / "weights.safetensors")


def edits(directory):
    return [edit["op"] for edit in json.loads((directory / "model.json").read_text())["edits"]]


def images(count=5):
    return {"image": np.random.default_rng(1).standard_normal((count, 1, 8, 8)).astype(np.float32)}


def test_a_block_of_torchs_encoder_goes_and_accuracy_comes_back(technique, trained_sequence):
    model = trained_sequence("transformer")
    node = technique(LAYERS, model, PruneLayers(drop=(0,)))
    before, after = weights(model), weights(node.out)
    assert node.facts["dropped"] == ["encoder.layers.0"]
    assert node.facts["parameters"] == sum(value.numel() for value in after.values()) < node.facts["parameters_before"]
    assert torch.equal(after["encoder.layers.0.linear1.weight"], before["encoder.layers.1.linear1.weight"])
    assert not any(name.startswith("encoder.layers.1") for name in after)
    tuned = technique(FINETUNE, node.out, Finetune(data="train", epochs=4, lr=3e-3)).out
    assert digits.accuracy(node.out) < 0.7
    assert digits.accuracy(tuned) > digits.accuracy(model) - 0.08  # half of the model is gone


def test_a_residual_block_of_the_cnn_goes_and_one_that_resizes_stays(technique, trained):
    node = technique(LAYERS, trained, PruneLayers(count=1, by="loss", data="calibration"))
    assert node.facts["blocks_before"] == 2  # blocks.1 halves the image
    assert node.facts["dropped"][0] in ("blocks.0", "blocks.2")
    tuned = technique(FINETUNE, node.out, Finetune(data="train", epochs=2, lr=2e-3)).out
    assert digits.accuracy(tuned) > digits.accuracy(trained) - 0.02
    with pytest.raises(UserError, match=r"'blocks.1' cannot be left out") as error:
        technique(LAYERS, trained, PruneLayers(blocks=("blocks.1",), drop=(0,)))
    assert "blocks.0" in (error.value.hint or "")


@pytest.mark.parametrize("by", ["output", "loss"])
def test_the_block_that_does_nothing_is_found(technique, toy, by):
    model = technique(FINETUNE, toy("bert"), Train(data="train", epochs=4, lr=5e-3)).out
    state = weights(model)
    for name in ("attention.output.dense", "output"):
        for part in ("weight", "bias"):
            state[f"layer.1.{name}.{part}"].zero_()
    save_file(state, model / "weights.safetensors")
    node = technique(LAYERS, model, PruneLayers(count=1, by=by, data="calibration"))
    assert node.facts["dropped"] == ["layer.1"]
    assert node.progress[-1]["done"] == node.progress[-1]["total"] == 1
    loaded = digits.outputs(node.out, images(), BERT)["output"]
    assert np.abs(loaded - digits.outputs(model, images(), BERT)["output"]).max() < 1.0


@pytest.mark.parametrize(
    ("choice", "dropped"),
    [
        ({"drop": (0, -1)}, [0, 5]),
        ({"keep": (0, 2, 3, 5)}, [1, 4]),
        ({"count": 2, "by": "last"}, [4, 5]),
        ({"count": 2, "by": "first"}, [0, 1]),
        ({"count": 3, "by": "spread"}, [1, 3, 4]),
    ],
)
def test_by_list_and_by_position(technique, toy, choice, dropped):
    node = technique(LAYERS, toy("bert", layers=6), PruneLayers(**choice))
    assert node.facts["dropped"] == [f"layer.{number}" for number in dropped]
    assert node.facts["blocks"] == 6 - len(dropped)


def test_named_members_keep_their_names_and_an_attribute_becomes_an_identity(technique, toy):
    node = technique(LAYERS, toy("deep"), PruneLayers(blocks=("blocks.*", "last"), drop=(0, 2)))
    assert sorted(weights(node.out)) == ["blocks.two.inner.bias", "blocks.two.inner.weight", "head.bias", "head.weight"]
    assert edits(node.out) == ["replace", "drop"]


def test_structural_edits_after_each_other(technique, trained, toy):
    slim = technique("cbuild_torch.prune.channels:prune", trained, PruneChannels(ratio=0.5)).out
    shorter = technique(LAYERS, slim, PruneLayers(drop=(0,))).out
    slimmer = technique("cbuild_torch.prune.channels:prune", shorter, PruneChannels(ratio=0.5, round_to=4)).out
    assert weights(slimmer)["stem.0.weight"].shape[0] == 4
    assert digits.outputs(slimmer, images())["output"].shape == (5, 10)
    start = toy("bert", layers=4)
    once = technique(LAYERS, start, PruneLayers(drop=(0,))).out
    fewer = technique("cbuild_torch.prune.heads:prune", once, PruneHeads(ratio=0.5, scope="local")).out
    twice = technique(LAYERS, fewer, PruneLayers(drop=(0,))).out
    assert edits(twice).count("drop") == 2
    assert weights(twice)["layer.1.attention.self.query.weight"].shape == (16, 32)
    kept = weights(start)["layer.2.intermediate.weight"]
    assert torch.equal(weights(twice)["layer.0.intermediate.weight"], kept)


def test_zeros_are_kept_under_their_new_names(technique, toy):
    params = PruneMagnitude(sparsity=0.5, scope="local", ignore=("layer.0.*", "layer.1.*", "embed.*", "head.*"))
    sparse = technique("cbuild_torch.prune.magnitude:prune", toy("bert"), params).out
    made = technique(LAYERS, sparse, PruneLayers(drop=(0,))).out
    tuned = technique(FINETUNE, made, Finetune(data="train", epochs=1)).out
    name = "layer.1.intermediate.weight"
    assert (weights(made)[name] == 0).float().mean() == 0.5
    assert torch.equal(weights(made)[name] == 0, weights(tuned)[name] == 0)


def test_the_model_exports(technique, toy):
    made = technique(LAYERS, toy("bert"), PruneLayers(drop=(1,))).out
    out = technique("cbuild_torch.to_onnx.export:export", made, ExportOnnx()).out
    wanted = digits.outputs(made, images(), BERT)["output"]
    np.testing.assert_allclose(digits.outputs(out, images())["output"], wanted, atol=1e-4, rtol=1e-3)


def test_what_does_not_fit_is_refused_with_what_would(technique, toy):
    for name, params, said in (
        ("mlp", {"count": 1}, "no blocks to drop"),
        ("bert", {}, "one of 'drop', 'keep' and 'count'"),
        ("bert", {"drop": (0,), "count": 1}, "one of 'drop', 'keep' and 'count'"),
        ("bert", {"drop": (3,)}, "there is no block 3: the model has 3"),
        ("bert", {"keep": ()}, "drops 3 of 3 blocks"),
        ("bert", {"count": 3, "by": "last"}, "leaves none of 3 blocks"),
        ("bert", {"count": 1}, "'by: output' is measured on data"),
        ("counting", {"drop": (0,)}, "changes more than skipping"),
    ):
        with pytest.raises(UserError, match=said):
            technique(LAYERS, toy(name), PruneLayers(**params))
