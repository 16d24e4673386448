from __future__ import annotations

import digits
import numpy as np
import onnx
import pytest
import torch
from cbuild_torch.model.module import load_model
from cbuild_torch.rewrite.params.activations import ReplaceActivation
from cbuild_torch.rewrite.params.batchnorm import FoldBatchnorm
from cbuild_torch.rewrite.params.lowrank import FactorizeLowrank
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.train.params import Finetune
from torch import nn

from compressbuild.api import UserError
from compressbuild.api.testing import make_context

REPLACE = "cbuild_torch.rewrite.activations:replace"


def module_of(directory, *factories):
    return load_model(make_context(directory.with_name("look"), factories=factories or digits.FACTORIES), directory)


def operators(directory):
    return {node.op_type for node in onnx.load(directory / "model.onnx").graph.node}


def test_a_layer_is_replaced_wherever_it_is_used(technique, toy):
    made = toy("activated")
    node = technique(REPLACE, made, ReplaceActivation(map={"SiLU": "Hardswish", "Swish": "ReLU"}))
    assert node.facts == {"replaced": {"SiLU": ["act"], "Swish": ["own"]}, "count": 2}
    module = module_of(node.out, "toy_models:activated")
    assert module.act is module.tail[1]
    assert isinstance(module.act, nn.Hardswish)
    assert module.act.inplace
    x = torch.randn(3, 1, 8, 8)
    before = module_of(made, "toy_models:activated")
    wanted = before.tail[0](torch.relu(nn.functional.hardswish(before.head(x.flatten(1)))))
    torch.testing.assert_close(module(x), nn.functional.hardswish(wanted))


def test_a_transformers_function_is_replaced_and_it_recovers(technique, trained_sequence):
    start = trained_sequence("transformer")
    node = technique(REPLACE, start, ReplaceActivation(map={"GELU": "ReLU"}))
    assert node.facts["replaced"] == {"GELU": [f"encoder.layers.{i}.activation" for i in (0, 1)]}
    assert all(layer.activation_relu_or_gelu == 1 for layer in module_of(node.out).encoder.layers)
    tuned = technique("cbuild_torch.train.finetune:train", node.out, Finetune(data="train", epochs=2, lr=3e-3)).out
    assert digits.accuracy(tuned) > digits.accuracy(start) - 0.03
    out = technique("cbuild_torch.to_onnx.export:export", tuned, ExportOnnx()).out
    assert "Relu" in operators(out)
    assert not operators(out) & {"Gelu", "Erf"}


def test_an_activation_without_a_fused_form_runs_as_itself(technique, trained_sequence):
    start = trained_sequence("transformer")
    out = technique(REPLACE, start, ReplaceActivation(map={"GELU": "Tanh"}, ignore=("encoder.layers.1.*",))).out
    module, before = module_of(out), module_of(start)
    kinds = [layer.activation for layer in module.encoder.layers]
    assert isinstance(kinds[0], nn.Tanh)
    assert kinds[1] is nn.functional.gelu
    x = torch.randn(4, 1, 8, 8)
    for layer in before.encoder.layers[:1]:
        layer.activation, layer.activation_relu_or_gelu = torch.tanh, 0
    with torch.no_grad():
        torch.testing.assert_close(module(x), before(x))


def test_there_and_back_and_there_again(technique, trained):
    once = technique(REPLACE, trained, ReplaceActivation(map={"ReLU": "Tanh"})).out
    back = technique(REPLACE, once, ReplaceActivation(map={"Tanh": "ReLU"})).out
    again = technique(REPLACE, back, ReplaceActivation(map={"ReLU": "Tanh"})).out
    feeds, _ = digits.held_out()
    found = [digits.outputs(made, feeds)["output"] for made in (trained, once, back, again)]
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[1], found[3])
    assert not np.array_equal(found[0], found[1])


def test_it_composes_with_other_edits(technique, trained_sequence, trained):
    folded = technique("cbuild_torch.rewrite.batchnorm:fold", trained, FoldBatchnorm()).out
    out = technique(REPLACE, folded, ReplaceActivation(map={"ReLU": "Hardswish"})).out
    assert isinstance(module_of(out).stem[2], nn.Hardswish)
    thin = technique(
        "cbuild_torch.rewrite.lowrank:factorize", trained_sequence("transformer"), FactorizeLowrank(ratio=0.3)
    ).out
    out = technique(REPLACE, thin, ReplaceActivation(map={"GELU": "ReLU"})).out
    layer = module_of(out).encoder.layers[0]
    assert (type(layer.activation), type(layer.linear1), layer.activation_relu_or_gelu) == (nn.ReLU, nn.Sequential, 0)


def test_what_does_not_fit_is_refused(technique, trained, toy):
    with pytest.raises(UserError, match="'map: GELU' is the class of no layer") as error:
        technique(REPLACE, trained, ReplaceActivation(map={"GELU": "ReLU"}))
    assert error.value.hint == "there are Identity, ReLU"
    with pytest.raises(UserError, match="'ReLU: Relu' names no activation") as error:
        technique(REPLACE, trained, ReplaceActivation(map={"ReLU": "Relu"}))
    assert "ReLU6" in (error.value.hint or "")
    with pytest.raises(UserError, match="changes nothing"):
        technique(REPLACE, trained, ReplaceActivation(map={"ReLU": "ReLU"}))
    with pytest.raises(UserError, match="'ignore:' leaves no activation"):
        technique(REPLACE, trained, ReplaceActivation(map={"ReLU": "Tanh"}, ignore=("stem.*",)))
    with pytest.raises(UserError, match="'map: ReLU' is the class of no layer") as error:
        technique(REPLACE, toy("depthwise"), ReplaceActivation(map={"ReLU": "Tanh"}))
    assert "called as functions" in (error.value.hint or "")
    with pytest.raises(UserError, match="'map: Conv2d' is not an activation"):
        technique(REPLACE, trained, ReplaceActivation(map={"Conv2d": "Identity"}))
