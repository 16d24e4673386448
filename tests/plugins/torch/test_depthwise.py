from __future__ import annotations

import json

import digits
import numpy as np
import pytest
import torch
from cbuild_torch.model.module import load_model
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.rewrite.params.batchnorm import FoldBatchnorm
from cbuild_torch.rewrite.params.depthwise import ReplaceDepthwise
from cbuild_torch.rewrite.params.lowrank import FactorizeLowrank
from cbuild_torch.train.params import Distill

from compressbuild.api import UserError
from compressbuild.api.testing import make_context

DEPTHWISE = "cbuild_torch.rewrite.depthwise:replace"


def module_of(directory, *factories):
    return load_model(make_context(directory.with_name("look"), factories=factories or digits.FACTORIES), directory)


def images(count=5):
    return {"image": np.random.default_rng(1).standard_normal((count, 1, 8, 8)).astype(np.float32)}


def test_it_is_cheaper_and_a_teacher_brings_it_back(technique, trained):
    node = technique(DEPTHWISE, trained, ReplaceDepthwise())
    assert node.facts["replaced"] == 6  # not the first of one channel, not the 1×1
    assert node.facts["macs"] < 0.3 * node.facts["macs_before"]
    assert node.facts["parameters"] == sum(value.numel() for value in module_of(node.out).parameters())
    first, second = module_of(node.out).blocks[1].conv1
    assert (first.groups, first.stride, second.kernel_size) == (16, (2, 2), (1, 1))
    params = Distill(data="train", teacher="big", epochs=6, lr=1e-2)
    world = {"inputs": {"teacher": digits.as_input(trained)}, "references": {"big": "teacher"}}
    student = technique("cbuild_torch.train.distill:distill", node.out, params, **world).out
    assert digits.accuracy(node.out) < 0.7
    assert digits.accuracy(student) > digits.accuracy(trained) - 0.04


def test_each_channel_is_the_best_of_its_rank_and_more_filters_keep_more(technique, trained):
    name = "blocks.2.conv1"
    weight = module_of(trained).get_submodule(name).weight.detach()
    values = torch.linalg.svdvals(weight.permute(1, 0, 2, 3).flatten(2))
    for multiplier in (1, 2):
        node = technique(DEPTHWISE, trained, ReplaceDepthwise(multiplier=multiplier, layers=(name,)))
        depth, point = (layer.weight.detach() for layer in module_of(node.out).get_submodule(name))
        depth = depth.view(32, multiplier, 3, 3)
        again = torch.einsum("imhw,oim->oihw", depth, point.view(32, 32, multiplier))
        best = values[:, multiplier:].norm()
        torch.testing.assert_close((weight - again).norm(), best, rtol=1e-4, atol=1e-5)
        assert node.facts["energy"][name] == pytest.approx(1 - float(best.square() / values.square().sum()), abs=1e-4)


def test_strides_dilation_and_padding_are_kept(technique, toy):
    made = toy("strided")
    node = technique(DEPTHWISE, made, ReplaceDepthwise(multiplier=2, layers=("rich", "same")))
    found = digits.outputs(node.out, images(), ("toy_models:strided",))["output"]
    wanted = digits.outputs(made, images(), ("toy_models:strided",))["output"]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_it_composes_with_other_edits(technique, trained):
    folded = technique("cbuild_torch.rewrite.batchnorm:fold", trained, FoldBatchnorm()).out
    made = technique(DEPTHWISE, folded, ReplaceDepthwise(ignore=("blocks.0.*",))).out
    pruned = technique("cbuild_torch.prune.channels:prune", made, PruneChannels(ratio=0.5, round_to=4)).out
    shapes = [tuple(layer.weight.shape) for layer in module_of(pruned).blocks[2].conv1]
    assert shapes == [(16, 1, 3, 3), (16, 16, 1, 1)]
    thin = technique(
        "cbuild_torch.rewrite.lowrank:factorize", pruned, FactorizeLowrank(ratio=0.3, layers=("blocks.*.1",))
    ).out
    assert [edit["op"] for edit in json.loads((thin / "model.json").read_text())["edits"]].count("resize") == 1
    assert len(module_of(thin).blocks[2].conv1[1]) == 2


def test_what_does_not_fit_is_refused(technique, trained, trained_sequence):
    with pytest.raises(UserError, match="the model has no ungrouped k×k convolution") as error:
        technique(DEPTHWISE, trained_sequence("gru"), ReplaceDepthwise())
    assert "factorize.lowrank" in (error.value.hint or "")
    with pytest.raises(UserError, match="no convolution gets cheaper"):
        technique(DEPTHWISE, trained, ReplaceDepthwise(multiplier=9))
    with pytest.raises(UserError, match=r"'layers: conv\*' matches nothing"):
        technique(DEPTHWISE, trained, ReplaceDepthwise(layers=("conv*",)))
