from __future__ import annotations

import digits
import numpy as np
import pytest
import torch
from cbuild_torch.model.attention import split
from cbuild_torch.model.module import load_model
from cbuild_torch.prune.params.layers import PruneLayers
from cbuild_torch.train.features import _mean_attention
from cbuild_torch.train.params import Distill
from torch import nn

from compressbuild.api import UserError
from compressbuild.api.testing import make_context

DISTILL = "cbuild_torch.train.distill:distill"


def world(teacher, **more):
    return {
        "inputs": {"teacher": digits.as_input(teacher), **{k: digits.as_input(v) for k, v in more.items()}},
        "references": {"big": "teacher"},
    }


def captured(directory, layers, feeds):
    """What layers of a model give."""
    ctx = make_context(directory.with_name("look"), factories=digits.FACTORIES)
    module, seen = load_model(ctx, directory), {}
    for name in layers:
        module.get_submodule(name).register_forward_hook(lambda _, i, output, name=name: seen.update({name: output}))
    with torch.no_grad():
        module(torch.from_numpy(feeds["image"]))
    return seen


def test_hidden_states_come_closer_also_through_a_projection(technique, trained, tmp_path):
    narrow = digits.source(tmp_path / "narrow", width=8)

    def correlation(**params):
        """How well the teacher's states follow linearly from the student's, on images it has not seen."""
        node = technique(
            DISTILL, narrow, Distill(data="train", teacher="big", epochs=3, lr=5e-3, **params), **world(trained)
        )
        feeds, _ = digits.held_out()
        ours = captured(node.out, ["blocks.1"], feeds)["blocks.1"].movedim(1, -1).reshape(-1, 16)
        theirs = captured(trained, ["blocks.1"], feeds)["blocks.1"].movedim(1, -1).reshape(-1, 32)
        ours = torch.cat([ours, torch.ones(len(ours), 1)], 1)
        left = theirs - ours @ torch.linalg.lstsq(ours, theirs).solution
        return 1 - float(left.square().sum() / (theirs - theirs.mean(0)).square().sum())

    assert correlation(hidden={"blocks.1": "blocks.1"}, hidden_weight=10.0) > correlation() + 0.03


def test_of_a_longer_teacher_every_second_layer(technique, trained_sequence):
    teacher = trained_sequence("transformer")
    student = technique("cbuild_torch.prune.depth:prune", teacher, PruneLayers(drop=(0,))).out
    feeds, _ = digits.held_out()
    wanted = captured(teacher, ["encoder.layers.1"], feeds)["encoder.layers.1"]

    def distance(**params):
        setting = Distill(data="train", teacher="big", epochs=3, lr=2e-3, **params)
        made = technique(DISTILL, student, setting, **world(teacher)).out
        return float((captured(made, ["encoder.layers.0"], feeds)["encoder.layers.0"] - wanted).square().mean())

    layers = {"encoder.layers.?": "encoder.layers.?"}
    assert distance(hidden=layers, hidden_weight=10.0) < 0.8 * distance()


@pytest.mark.parametrize(
    ("name", "layers"),
    [("cnn", {"blocks.?": "blocks.?"}), ("transformer", {"encoder.layers.?.self_attn": "encoder.layers.?.self_attn"})],
)
def test_attention_is_matched_over_other_widths_and_heads(
    technique, trained, trained_sequence, untrained, tmp_path, name, layers
):
    """The attention loss moves the student's attention towards the teacher's."""
    teacher = trained if name == "cnn" else trained_sequence("transformer")
    fresh = tmp_path / "fresh"
    student = untrained if name == "cnn" else digits.source(fresh, factory="sequence_models:transformer")
    params = Distill(data="train", teacher="big", epochs=2, lr=3e-3, alpha=0.0, attention=layers, attention_weight=10.0)
    plain = Distill(data="train", teacher="big", epochs=2, lr=3e-3, alpha=0.0)
    losses = {}
    for kind, setting in (("matched", params), ("plain", plain)):
        made = technique(DISTILL, student, setting, **world(teacher)).out
        losses[kind] = float((attention(made, name) - attention(teacher, name)).square().mean())
    assert losses["matched"] < 0.7 * losses["plain"]


def attention(directory, name):
    feeds, _ = digits.held_out()
    if name == "cnn":
        maps = captured(directory, ["blocks.1"], feeds)["blocks.1"].square().mean(1).flatten(1)
        return nn.functional.normalize(maps)
    ctx = make_context(directory.with_name("look"), factories=digits.FACTORIES)
    module, seen = load_model(ctx, directory), []
    layer = module.encoder.layers[0].self_attn
    hook = lambda _, args: seen.append(_mean_attention(layer, args[0], args[1]))  # noqa: E731
    layer.register_forward_pre_hook(hook)
    with torch.no_grad():
        module(torch.from_numpy(feeds["image"]))
    return seen[0]


def test_the_attention_compared_is_that_of_torch():
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(16, 4, kdim=8, vdim=8).eval()
    q, k = torch.randn(5, 3, 16), torch.randn(7, 3, 8)
    torch.testing.assert_close(_mean_attention(layer, q, k), layer(q, k, k)[1])
    torch.testing.assert_close(split(layer)(q, k, k)[1], layer(q, k, k)[1])


def test_the_student_may_be_another_model_and_this_one_teaches(technique, trained, tmp_path):
    small = digits.source(tmp_path / "small", width=8)
    params = Distill(data="train", student="small", epochs=4, lr=8e-3, alpha=1.0)
    inputs = {"student": digits.as_input(small)}
    node = technique(DISTILL, trained, params, inputs=inputs, references={"small": "student"})
    assert (node.out / "weights.safetensors").stat().st_size < 0.4 * (trained / "weights.safetensors").stat().st_size
    assert digits.accuracy(node.out) > 0.85


@pytest.mark.parametrize("match", ["mse", "cosine"])
def test_outputs_that_are_no_classes(technique, trained, untrained, match):
    params = Distill(data="train", teacher="big", epochs=3, lr=3e-3, alpha=1.0, match=match)
    made = technique(DISTILL, untrained, params, **world(trained)).out
    feeds, _ = digits.held_out()
    ours, theirs = (digits.outputs(one, feeds)["output"] for one in (made, trained))
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.mean() > 0.85


def test_what_cannot_be_matched_is_explained(technique, trained, untrained, exported, toy):
    for params, teacher, said in (
        ({"teacher": None}, trained, "distill has no teacher"),
        ({"hidden": {"body": "blocks.0"}}, trained, "'hidden: body' matches no layer of the student"),
        ({"hidden": {"blocks.0": "body"}}, trained, "'hidden: body' matches no layer of the teacher"),
        ({"hidden": {"blocks.0": "blocks.1"}}, trained, "differ in more than their width"),
        ({"attention": {"blocks.0": "blocks.1"}}, trained, "differ in shape"),
        ({"attention": {"classify": "classify"}}, trained, "neither an attention layer nor a feature map"),
        ({"hidden": {"blocks.0": "blocks.0"}}, exported, "is of kind onnx: its layers cannot be read"),
    ):
        setting = Distill(**{"data": "train", "teacher": "big", "epochs": 1, **params})
        with pytest.raises(UserError, match=said):
            technique(DISTILL, untrained, setting, **world(teacher))
