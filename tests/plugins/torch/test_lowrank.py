from __future__ import annotations

import json

import digits
import numpy as np
import pytest
import torch
from cbuild_torch.model.module import load_model
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.rewrite.params.lowrank import FactorizeLowrank, Rank
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.train.params import Finetune

from compressbuild.api import UserError
from compressbuild.api.testing import make_context

LOWRANK = "cbuild_torch.rewrite.lowrank:factorize"
FINETUNE = "cbuild_torch.train.finetune:train"


def module_of(directory):
    return load_model(make_context(directory.with_name("look"), factories=digits.FACTORIES), directory)


def parameters(directory):
    return sum(value.numel() for value in module_of(directory).parameters())


def images(count=5):
    return {"image": np.random.default_rng(1).standard_normal((count, 1, 8, 8)).astype(np.float32)}


def relative_error(one, other):
    wanted = digits.outputs(one, images())["output"]
    return float(np.linalg.norm(digits.outputs(other, images())["output"] - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("convolution", ["spatial", "channel"])
def test_the_more_energy_is_kept_the_closer_are_the_outputs(technique, trained, convolution):
    loose, tight = (
        technique(LOWRANK, trained, FactorizeLowrank(energy=energy, convolution=convolution)) for energy in (0.5, 0.8)
    )
    assert loose.facts["macs"] < tight.facts["macs"] < loose.facts["macs_before"]
    assert relative_error(trained, tight.out) < relative_error(trained, loose.out)


@pytest.mark.parametrize("convolution", ["auto", "spatial", "channel"])
def test_the_ratio_is_saved_and_accuracy_comes_back(technique, trained, convolution):
    node = technique(LOWRANK, trained, FactorizeLowrank(ratio=0.5, convolution=convolution, ignore=("classify",)))
    assert node.facts["macs"] < 0.55 * node.facts["macs_before"]
    assert parameters(node.out) == node.facts["parameters"] < 0.6 * parameters(trained)
    tuned = technique(FINETUNE, node.out, Finetune(data="train", epochs=5, lr=5e-3)).out
    assert digits.accuracy(tuned) > digits.accuracy(trained) - 0.03
    assert parameters(tuned) == parameters(node.out)


def test_each_layer_is_the_best_of_its_rank(technique, trained):
    name = "blocks.2.conv1"
    node = technique(LOWRANK, trained, FactorizeLowrank(rank=4, convolution="channel", layers=(name,)))
    assert node.facts["ranks"] == {name: 4}
    weight = module_of(trained).get_submodule(name).weight.detach().flatten(1)
    one, two = (layer.weight.detach().flatten(1) for layer in module_of(node.out).get_submodule(name))
    best = torch.linalg.svdvals(weight)[4:].norm()  # Eckart and Young: nothing of rank 4 is closer
    torch.testing.assert_close((weight - two @ one).norm(), best, rtol=1e-4, atol=1e-5)


def test_overrides_and_ignored_layers(technique, trained):
    params = FactorizeLowrank(
        ratio=0.5, overrides={"blocks.1.*": Rank(rank=3), "blocks.2.*": Rank(energy=0.5)}, ignore=("stem.*",)
    )
    ranks = technique(LOWRANK, trained, params).facts["ranks"]
    assert "stem.0" not in ranks
    assert ranks["blocks.1.conv1"] == ranks["blocks.1.conv2"] == 3
    assert ranks["blocks.2.conv1"] < ranks["blocks.0.conv1"] * 4


def test_ranks_are_multiples(technique, trained):
    ranks = technique(LOWRANK, trained, FactorizeLowrank(ratio=0.4, round_to=4)).facts["ranks"]
    assert ranks
    assert all(rank % 4 == 0 for rank in ranks.values())


def test_only_what_gets_cheaper_is_replaced(technique, trained):
    node = technique(LOWRANK, trained, FactorizeLowrank(rank=12))
    assert "classify" not in node.facts["ranks"]  # 32 → 10: rank 12 is more than its whole
    assert isinstance(module_of(node.out).classify, torch.nn.Linear)
    with pytest.raises(UserError, match="no layer gets cheaper"):
        technique(LOWRANK, trained, FactorizeLowrank(rank=500))


def test_strides_dilation_and_padding_are_kept(technique, toy, tmp_path):
    made = toy("strided")
    for form in ("spatial", "channel"):
        node = technique(LOWRANK, made, FactorizeLowrank(energy=0.99999, convolution=form, layers=("rich", "same")))
        assert node.facts["ranks"] == {"rich": 2, "same": 2}
        found = digits.outputs(node.out, images(), ("toy_models:strided",))["output"]
        wanted = digits.outputs(made, images(), ("toy_models:strided",))["output"]
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_channels_before_and_after(technique, trained):
    pruned = technique("cbuild_torch.prune.channels:prune", trained, PruneChannels(ratio=0.25, round_to=4)).out
    factored = technique(LOWRANK, pruned, FactorizeLowrank(ratio=0.3, layers=("blocks.*",))).out
    again = technique("cbuild_torch.prune.channels:prune", factored, PruneChannels(ratio=0.25, round_to=1)).out
    assert [edit["op"] for edit in json.loads((again / "model.json").read_text())["edits"]][:2] == ["resize", "replace"]
    assert parameters(again) < parameters(factored) < parameters(pruned) < parameters(trained)
    twice = technique(LOWRANK, again, FactorizeLowrank(ratio=0.2, layers=("blocks.*.1",))).out
    assert parameters(twice) < parameters(again)


def test_a_transformer_keeps_its_accuracy_and_exports(technique, trained_sequence):
    start = trained_sequence("transformer")
    node = technique(LOWRANK, start, FactorizeLowrank(ratio=0.4, layers=("encoder.*",)))
    assert sorted(node.facts["ranks"]) == [f"encoder.layers.{i}.linear{j}" for i in (0, 1) for j in (1, 2)]
    tuned = technique(FINETUNE, node.out, Finetune(data="train", epochs=3, lr=3e-3)).out
    assert digits.accuracy(tuned) > digits.accuracy(start) - 0.03
    out = technique("cbuild_torch.to_onnx.export:export", tuned, ExportOnnx()).out
    np.testing.assert_allclose(
        digits.outputs(out, images())["output"], digits.outputs(tuned, images())["output"], atol=1e-4, rtol=1e-3
    )


def test_padded_batches_leave_the_fused_encoder(technique, toy):
    made = toy("masked", inputs=[["ids", ["batch", "time"], "int64"], ["mask", ["batch", "time"], "int64"]])
    node = technique(LOWRANK, made, FactorizeLowrank(ratio=0.01, layers=("encoder.*",)))
    assert node.facts["factored"] == 4
    feeds = {"ids": np.arange(14).reshape(2, 7), "mask": np.array([[1] * 7, [1] * 4 + [0] * 3])}
    factories = ("toy_models:masked",)
    found, wanted = (digits.outputs(one, feeds, factories)["output"] for one in (node.out, made))
    assert np.linalg.norm(found - wanted) < 0.5 * np.linalg.norm(wanted)


def test_what_does_not_fit_is_refused(technique, trained, toy, trained_sequence):
    with pytest.raises(UserError, match=r"'ignore: head\.\*' matches nothing"):
        technique(LOWRANK, trained, FactorizeLowrank(ignore=("head.*",)))
    with pytest.raises(UserError, match="no linear or ungrouped convolution") as error:
        technique(LOWRANK, trained_sequence("lstm"), FactorizeLowrank(ignore=("head",)))
    assert "recurrent" in (error.value.hint or "")
    with pytest.raises(UserError, match="the edited model does not run") as error:
        technique(LOWRANK, toy("peeking"), FactorizeLowrank())
    assert "ignore" in (error.value.hint or "")
    with pytest.raises(ValueError, match="give one of"):
        FactorizeLowrank(rank=3, energy=0.5)
