"""prune.channels and code that counts on widths: what must stay stays and is said, and the rest is pruned right."""

from __future__ import annotations

import dividing_models
import numpy as np
import pytest
import torch
from cbuild_torch.model.module import load_model
from cbuild_torch.prune import fixed
from cbuild_torch.prune.params.channels import PruneChannels

from compressbuild.api import UserError
from compressbuild.api.testing import make_context, run_node

CHANNELS = "cbuild_torch.prune.channels:prune"
FACTORIES = tuple(f"dividing_models:{name}" for name in dividing_models.FACTORIES)


@pytest.fixture
def pruned(tmp_path):
    """Prune a model of :mod:`dividing_models`: its facts, and what the whole and the pruned model are."""

    def apply(name, inputs=dividing_models.IMAGES, ratio=0.5, args=None, **params):
        made = {"factory": f"dividing_models:{name}", "args": args or {}, "weights": None, "inputs": inputs}
        source = run_node("cbuild_torch.model.source:init", None, made, tmp_path / "source", factories=FACTORIES).out
        params = PruneChannels(ratio=ratio, round_to=1, **params)
        node = run_node(CHANNELS, source, params, tmp_path / "out", factories=FACTORIES)
        context = make_context(tmp_path / "load", factories=FACTORIES)
        return node.facts, load_model(context, source), load_model(context, node.out)

    return apply


def images(count):
    return torch.from_numpy(np.random.default_rng(count).standard_normal((count, 3, 16, 16), np.float32))


def tokens(count, length):
    return torch.from_numpy(np.random.default_rng(length).standard_normal((count, length, 12), np.float32))


def near(one, other):
    assert torch.allclose(one.detach(), other.detach(), atol=1e-5, rtol=1e-4), float((one - other).abs().max())


def widths(facts):
    return {name: (width["before"], width["after"]) for name, width in facts["widths"].items()}


@pytest.mark.parametrize("how", dividing_models.JOINS)
def test_only_dead_channels_go(pruned, how):
    facts, whole, small = pruned("between", args={"how": how})
    for count in (1, 3):
        near(small(images(count)), whole(images(count)))
    plain = ("third", "fourth") if how == "gram" else ("second", "third", "fourth")
    assert {name: widths(facts)[name] for name in plain} == dict.fromkeys(plain, (32, 16))
    assert ("first" in facts["kept"]) == (how not in dividing_models.FIRST_GOES)


@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.5, 0.75])
def test_the_widths_asked_are_the_widths_achieved(pruned, ratio):
    facts, _, small = pruned("between", args={"how": "gate"}, ratio=ratio)
    wanted = round(32 * (1 - ratio))
    assert facts["widths"]["second"]["asked"] == facts["widths"]["third"]["asked"] == wanted
    assert small.second.out_channels == facts["widths"]["second"]["after"]
    assert abs(small.second.out_channels - wanted) <= 1
    assert facts["kept"]["first"] == "chunk divides or rearranges its channels"
    assert small.first.out_channels == 32


def test_parts_of_a_split_are_not_told_apart_by_who_takes_them(pruned):
    facts, whole, small = pruned("parts_in_any_order")
    near(small(images(2)), whole(images(2)))
    assert small.first.out_channels == 32
    assert widths(facts)["join"] == (32, 16)


def test_a_gate_along_the_last_axis(pruned):
    facts, whole, small = pruned("gated_linear", dividing_models.TOKENS)
    near(small(tokens(2, 7)), whole(tokens(2, 7)))
    assert widths(facts) == {"inner": (32, 16), "narrow": (32, 16)}


def test_what_chooses_stays(pruned):
    facts, _, small = pruned("routed", dividing_models.TOKENS)
    assert small.router.out_features == 16
    assert "decides" in facts["kept"]["router"]


def test_attention_is_known_by_what_it_does(pruned):
    facts, _, small = pruned("unnamed", dividing_models.TOKENS)
    assert [small.get_submodule(name).out_features for name in "abcd"] == [32, 16, 16, 12]
    assert widths(facts) == {"wide": (32, 16)}
    assert small(tokens(2, 9)).shape == (2, 9, 5)


@pytest.mark.parametrize("gives", ["argmax", "gt", "detach", "no_grad", "topk"])
def test_an_output_without_a_gradient_is_refused_by_its_operation(pruned, gives):
    with pytest.raises(UserError, match=f"output 'output' has no gradient: {gives} ends it after 'head'") as error:
        pruned("blind", args={"gives": gives})
    assert "return the scores" in (error.value.hint or "")


def test_a_class_beside_its_scores_is_fine(pruned):
    _, _, small = pruned("blind", args={"gives": "both"})
    found = small(images(5))
    assert found["logits"].shape == (5, 16)
    assert torch.equal(found["class"], found["logits"].argmax(1))


@pytest.mark.parametrize("how", ["gate", "unequal", "slices", "shuffle", "flip", "input-first", "gram"])
def test_the_proof_alone_catches_what_is_pruned_wrong(pruned, monkeypatch, how):
    """Without the watched run torch-pruning mixes up these channels: the comparison with a masked model must see it."""
    monkeypatch.setattr(fixed.Flow, "keep", lambda *_: None)
    with pytest.raises(UserError, match=r"not the model with those channels at zero|does not run|cannot follow"):
        pruned("between", args={"how": how}, ratio=0.3)
