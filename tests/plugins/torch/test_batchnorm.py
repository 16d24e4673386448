from __future__ import annotations

import json

import digits
import numpy as np
import pytest
import torch
from cbuild_torch.model.module import load_model
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.prune.params.magnitude import PruneMagnitude
from cbuild_torch.rewrite.params.batchnorm import FoldBatchnorm
from cbuild_torch.rewrite.params.lowrank import FactorizeLowrank
from cbuild_torch.train.params import Finetune
from safetensors.torch import load_file
from torch import nn

from compressbuild.api import UserError
from compressbuild.api.testing import make_context

FOLD = "cbuild_torch.rewrite.batchnorm:fold"


def module_of(directory, *factories):
    return load_model(make_context(directory.with_name("look"), factories=factories or digits.FACTORIES), directory)


def images(count=5):
    return {"image": np.random.default_rng(1).standard_normal((count, 1, 8, 8)).astype(np.float32)}


def norms(module):
    return [name for name, layer in module.named_modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]


def test_every_normalisation_goes_and_the_outputs_stay(technique, trained):
    node = technique(FOLD, trained, FoldBatchnorm())
    assert node.facts["folded"] == len(norms(module_of(trained))) == 8
    assert node.facts["left"] == norms(module_of(node.out)) == []
    assert 0 < node.facts["max_difference"] < 1e-4
    np.testing.assert_allclose(
        digits.outputs(node.out, images())["output"],
        digits.outputs(trained, images())["output"],
        atol=1e-4,
        rtol=1e-3,
    )
    assert not any("running" in name for name in load_file(node.out / "weights.safetensors"))


def test_what_is_ignored_stays(technique, trained):
    node = technique(FOLD, trained, FoldBatchnorm(ignore=("stem.*", "blocks.0.bn1")))
    assert node.facts["left"] == ["blocks.0.bn1", "stem.1"] == sorted(norms(module_of(node.out)))


def test_only_a_layer_that_nobody_else_reads_is_folded(technique, toy):
    made = toy("normalised")
    node = technique(FOLD, made, FoldBatchnorm())
    left = ["before", "returned_norm", "sequence_norm", "shared_norm", "twice_norm"]
    assert node.facts == {"folded": 5, "left": left, "max_difference": node.facts["max_difference"]}
    factories = ("toy_models:normalised",)
    wanted = digits.outputs(made, images(), factories)
    for name, found in digits.outputs(node.out, images(), factories).items():
        np.testing.assert_allclose(found, wanted[name], atol=1e-4, rtol=1e-3)


def test_zeros_and_other_edits_survive(technique, trained):
    sparse = technique("cbuild_torch.prune.magnitude:prune", trained, PruneMagnitude(sparsity=0.6)).out
    pruned = technique("cbuild_torch.prune.channels:prune", sparse, PruneChannels(ratio=0.5)).out
    folded = technique(FOLD, pruned, FoldBatchnorm()).out
    name = "blocks.1.conv2.weight"
    zeros = load_file(pruned / "weights.safetensors")[name] == 0
    assert zeros.any()
    tuned = technique("cbuild_torch.train.finetune:train", folded, Finetune(data="train", epochs=1, lr=1e-4)).out
    after = load_file(tuned / "weights.safetensors")[name]
    assert torch.equal(zeros, after == 0)
    thin = technique(
        "cbuild_torch.rewrite.lowrank:factorize", folded, FactorizeLowrank(ratio=0.3, layers=("blocks.*",))
    ).out
    operations = [edit["op"] for edit in json.loads((thin / "model.json").read_text())["edits"]]
    assert operations[:2] == ["sparse", "resize"]
    assert operations.count("replace") > 16


def test_what_does_not_fit_is_refused(technique, trained, trained_sequence, toy):
    with pytest.raises(UserError, match="the model has no batch normalisation to fold"):
        technique(FOLD, trained_sequence("transformer"), FoldBatchnorm())
    with pytest.raises(UserError, match="no batch normalisation directly follows") as error:
        technique(FOLD, trained, FoldBatchnorm(ignore=("*",)))
    assert "ignore" in (error.value.hint or "")
    with pytest.raises(UserError, match="no batch normalisation directly follows") as error:
        technique(FOLD, toy("depthwise"), FoldBatchnorm())
    with pytest.raises(UserError, match="folding changes output 'output' by up to"):
        technique(FOLD, trained, FoldBatchnorm(atol=0.0, rtol=0.0))
