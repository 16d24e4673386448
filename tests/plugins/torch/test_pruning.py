from __future__ import annotations

import json

import digits
import numpy as np
import pytest
import torch
from cbuild_kit import example_arrays
from cbuild_torch.model.description import ModelDescription
from cbuild_torch.model.module import load_model
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.prune.params.magnitude import PruneMagnitude
from cbuild_torch.train.params import Distill, Finetune
from safetensors.torch import load_file

from compressbuild.api import UserError
from compressbuild.api.testing import make_context

MAGNITUDE = "cbuild_torch.prune.magnitude:prune"
CHANNELS = "cbuild_torch.prune.channels:prune"
CONVOLUTIONS = ["stem.0", "blocks.0.conv1", "blocks.0.conv2", "blocks.1.conv1", "blocks.1.conv2", "blocks.2.conv1"]


def weights(directory):
    return load_file(directory / "weights.safetensors")


def parameters(directory, *factories):
    module = load_model(make_context(directory.with_name("count"), factories=factories or (digits.FACTORY,)), directory)
    return sum(value.numel() for value in module.parameters())


def edits(directory):
    return [edit["op"] for edit in json.loads((directory / "model.json").read_text())["edits"]]


def images(count=5):
    return {"image": np.random.default_rng(1).standard_normal((count, 1, 8, 8)).astype(np.float32)}


class TestMagnitude:
    def test_global_zeroes_exactly_the_smallest_of_all(self, technique, trained):
        node = technique(MAGNITUDE, trained, PruneMagnitude(sparsity=0.7))
        before, after = weights(trained), weights(node.out)
        names = [name for name, value in before.items() if value.dim() > 1]
        zeroed = torch.cat([before[n][after[n] == 0].abs() for n in names])
        kept = torch.cat([before[n][after[n] != 0].abs() for n in names])
        assert zeroed.max() <= kept.min()
        assert len(zeroed) == round(0.7 * (len(zeroed) + len(kept))) == node.facts["zeros"]
        assert all(torch.equal(after[n][after[n] != 0], before[n][after[n] != 0]) for n in names)
        assert all(torch.equal(before[n], after[n]) for n in before if n not in names)

    def test_local_gives_each_tensor_its_share(self, technique, trained):
        params = PruneMagnitude(sparsity=0.5, scope="local", overrides={"stem.*": 0.25}, ignore=("classify.*",))
        after = weights(technique(MAGNITUDE, trained, params).out)
        share = {name: float((value == 0).float().mean()) for name, value in after.items() if value.dim() > 1}
        assert share.pop("stem.0.weight") == pytest.approx(0.25, abs=0.01)
        assert share.pop("classify.weight") == 0
        assert all(value == pytest.approx(0.5, abs=0.01) for value in share.values())

    def test_an_override_is_left_out_of_the_global_ranking(self, technique, trained):
        after = weights(technique(MAGNITUDE, trained, PruneMagnitude(sparsity=0.9, overrides={"classify.*": 0.0})).out)
        assert (after["classify.weight"] != 0).all()

    def test_patterns_must_match(self, technique, trained):
        with pytest.raises(UserError, match=r"'ignore: head\.\*' matches nothing") as error:
            technique(MAGNITUDE, trained, PruneMagnitude(ignore=("head.*",)))
        assert "stem.0.weight" in (error.value.hint or "")
        with pytest.raises(UserError, match="the model has no weights to prune"):
            technique(MAGNITUDE, trained, PruneMagnitude(ignore=("*",)))

    def test_a_tied_weight_is_pruned_once(self, technique, toy):
        made = toy("tied", inputs=[["ids", ["batch", 5], "int64"]])
        node = technique(MAGNITUDE, made, PruneMagnitude(sparsity=0.5))
        assert node.facts == {"zeros": 80, "weights": 160, "sparsity": 0.5}

    def test_recurrent_weights_are_pruned_and_biases_are_not(self, technique, toy):
        after = weights(technique(MAGNITUDE, toy("recurrent"), PruneMagnitude(sparsity=0.5, scope="local")).out)
        zeros = {name: float((value == 0).float().mean()) for name, value in after.items()}
        assert zeros["rnn.weight_hh_l0"] == zeros["rnn.weight_ih_l0"] == zeros["head.weight"] == 0.5
        assert zeros["rnn.bias_hh_l0"] == zeros["head.bias"] == 0


class TestChannels:
    def test_tensors_get_smaller_and_the_facts_are_true(self, technique, trained):
        node = technique(CHANNELS, trained, PruneChannels(ratio=0.5))
        shapes = {name: value.shape for name, value in weights(node.out).items()}
        assert shapes["stem.0.weight"][0] == 8
        assert shapes["blocks.1.conv2.weight"][:2] == (16, 16)
        assert shapes["classify.weight"] == (10, 16)  # the classes stay
        assert node.facts["parameters"] == parameters(node.out) < 0.35 * parameters(trained)
        assert node.facts["parameters_before"] == parameters(trained)
        assert node.facts["macs"] < 0.35 * node.facts["macs_before"]
        assert edits(node.out) == ["resize"]

    def test_macs_are_counted_right(self, technique, toy):
        node = technique(CHANNELS, toy("mlp", hidden=64), PruneChannels(ratio=0.5))
        assert node.facts["macs_before"] == 64 * 64 + 64 * 10
        assert node.facts["macs"] == 64 * 32 + 32 * 10

    def test_accuracy_is_recovered_by_distillation(self, technique, trained):
        pruned = technique(CHANNELS, trained, PruneChannels(ratio=0.5)).out
        params = Distill(data="train", teacher="big", epochs=4, lr=3e-3)
        world = {"inputs": {"teacher": digits.as_input(trained)}, "references": {"big": "teacher"}}
        student = technique("cbuild_torch.train.distill:distill", pruned, params, **world).out
        assert digits.accuracy(pruned) < 0.6
        assert digits.accuracy(student) > digits.accuracy(trained) - 0.03
        assert parameters(student) == parameters(pruned)

    def test_widths_are_multiples_even_of_an_odd_ratio(self, technique, trained):
        for ratio, multiple in ((0.3, 8), (0.9, 8), (0.4, 4)):
            made = weights(technique(CHANNELS, trained, PruneChannels(ratio=ratio, round_to=multiple)).out)
            widths = {made[f"{name}.weight"].shape[0] for name in CONVOLUTIONS}
            assert all(width % multiple == 0 and width > 0 for width in widths), (ratio, widths)

    def test_the_least_important_channels_go(self, technique, trained):
        before = weights(trained)["blocks.0.conv1.weight"]
        others = ("stem.0", "blocks.*.conv2", "blocks.[12].conv1")
        params = PruneChannels(ratio=0.5, criterion="l1", ignore=others)
        after = weights(technique(CHANNELS, trained, params).out)["blocks.0.conv1.weight"]
        kept = [i for i, one in enumerate(before) if any(torch.equal(one, other) for other in after)]
        assert len(kept) == 8

    def test_two_structural_edits_after_each_other(self, technique, trained):
        once = technique(CHANNELS, trained, PruneChannels(ratio=0.25, round_to=4)).out
        twice = technique(CHANNELS, once, PruneChannels(ratio=0.34, round_to=4))
        sizes = [weights(made)["blocks.0.conv1.weight"].shape[0] for made in (trained, once, twice.out)]
        assert sizes == [16, 12, 8]
        assert parameters(twice.out) == twice.facts["parameters"] < parameters(once)
        assert edits(twice.out) == ["resize"]

    def test_channels_after_magnitude_keep_the_zeros_through_training(self, technique, trained):
        sparse = technique(MAGNITUDE, trained, PruneMagnitude(sparsity=0.6)).out
        pruned = technique(CHANNELS, sparse, PruneChannels(ratio=0.5)).out
        assert edits(pruned) == ["sparse", "resize"]
        before = weights(pruned)["blocks.1.conv2.weight"]
        after = weights(technique("cbuild_torch.train.finetune:train", pruned, Finetune(data="train", epochs=1)).out)
        assert (before == 0).sum() > 100
        assert torch.equal(before == 0, after["blocks.1.conv2.weight"] == 0)

    def test_it_loads_bit_equal_in_a_new_process(self, technique, trained, python, tmp_path):
        pruned = technique(CHANNELS, trained, PruneChannels(ratio=0.5)).out
        np.save(tmp_path / "images.npy", images()["image"])
        (tmp_path / "elsewhere").mkdir()
        code = (
            "import digits, numpy as np, pathlib, sys\n"
            "made, here = map(pathlib.Path, sys.argv[1:])\n"
            "np.save(here / 'logits.npy', digits.outputs(made, {'image': np.load(here / 'images.npy')})['output'])"
        )
        python("-c", code, pruned, tmp_path, cwd=tmp_path / "elsewhere", hash_seed=7)
        assert np.array_equal(np.load(tmp_path / "logits.npy"), digits.outputs(pruned, images())["output"])

    @pytest.mark.parametrize("criterion", ["l1", "l2", "bn-scale", "taylor"])
    @pytest.mark.parametrize("scope", ["local", "global"])
    def test_each_criterion_prunes(self, technique, trained, criterion, scope):
        params = PruneChannels(ratio=0.4, criterion=criterion, scope=scope, round_to=4, data="train", samples=64)
        node = technique(CHANNELS, trained, params)
        assert 0.2 < node.facts["removed"] < 0.95
        assert digits.outputs(node.out, images())["output"].shape == (5, 10)

    def test_taylor_prunes_better_than_magnitude_where_it_matters(self, technique, trained):
        """Criteria are not all one: they choose other channels."""
        made = {
            criterion: weights(technique(CHANNELS, trained, PruneChannels(criterion=criterion, data="train")).out)
            for criterion in ("l2", "taylor")
        }
        name = "blocks.1.conv1.weight"
        assert made["l2"][name].shape == made["taylor"][name].shape
        assert not torch.equal(made["l2"][name], made["taylor"][name])

    def test_steps_end_at_the_same_width(self, technique, trained):
        node = technique(CHANNELS, trained, PruneChannels(ratio=0.5, steps=2, round_to=4))
        assert weights(node.out)["stem.0.weight"].shape[0] == 8
        assert [report["done"] for report in node.progress] == [1, 2]

    def test_grouped_depthwise_and_transposed_convolutions(self, technique, toy):
        made = toy("depthwise")
        node = technique(CHANNELS, made, PruneChannels(ratio=0.5))
        ctx = make_context(node.out.with_name("load"), factories=("toy_models:depthwise",))
        module = load_model(ctx, node.out)
        assert module.depth.groups == module.depth.in_channels == module.depth.out_channels < 32
        assert module.up.in_channels == module.grouped.out_channels + module.stem.out_channels
        assert node.facts["parameters"] < 0.5 * node.facts["parameters_before"]
        feeds = example_arrays(ModelDescription.read(node.out).inputs)
        assert digits.outputs(node.out, feeds, ("toy_models:depthwise",))["output"].shape == (2, 10)

    @pytest.mark.parametrize("named", [True, False])
    @pytest.mark.parametrize("kind", ["ChannelShuffle", "GLU", "PixelShuffle", "PixelUnshuffle"])
    def test_layers_that_mix_channels_are_named(self, technique, toy, kind, named):
        subject = toy("mixing", kind=kind, named=named)
        name = f"{kind} 'mix'" if named else kind
        said = f"cannot follow channels through {name}, which .*: between 'second' and 'third'"
        with pytest.raises(UserError, match=said) as error:
            technique(CHANNELS, subject, PruneChannels(ratio=0.5))
        assert error.value.hint == "'ignore: [second]' leaves that width as it is; prune.magnitude fits every model"
        assert technique(CHANNELS, subject, PruneChannels(ratio=0.5, ignore=("second",))).facts["removed"] > 0.1

    def test_a_gate_along_another_axis_is_followed(self, technique, toy):
        assert technique(CHANNELS, toy("mixing", kind="GLU of rows"), PruneChannels(ratio=0.5)).facts["removed"] > 0.5

    def test_what_does_not_fit_is_refused_with_what_would(self, technique, toy, trained):
        for name, said in (
            ("recurrent", "cannot prune LSTM 'rnn', whose sizes are tied"),
            ("fixed", "does not run|cannot follow"),
            ("fewer_classes", "no layer is left to prune"),
        ):
            with pytest.raises(UserError, match=said) as error:
                technique(CHANNELS, toy(name), PruneChannels())
            assert "prune.magnitude" in (error.value.hint or "")
        with pytest.raises(UserError, match="taylor needs labelled data"):
            technique(CHANNELS, trained, PruneChannels(criterion="taylor"))
        with pytest.raises(UserError, match="but the model has no such layer"):
            technique(CHANNELS, toy("mlp"), PruneChannels(criterion="bn-scale"))
        with pytest.raises(UserError, match="'overrides: head' matches nothing"):
            technique(CHANNELS, trained, PruneChannels(overrides={"head": 0.1}))

    def test_recovery_between_steps_leaves_a_better_model(self, technique, trained):
        plain = PruneChannels(ratio=0.5, steps=3, round_to=4, data="train")
        trained_between = PruneChannels(ratio=0.5, steps=3, round_to=4, data="train", recover_epochs=1, recover_lr=2e-3)
        first, second = technique(CHANNELS, trained, plain), technique(CHANNELS, trained, trained_between)
        assert first.facts["parameters"] == second.facts["parameters"] < 0.35 * first.facts["parameters_before"]
        assert digits.accuracy(second.out) > digits.accuracy(first.out) + 0.1
        done = [report["done"] for report in second.progress]
        assert done == sorted(done)
        assert done[-1] == second.progress[-1]["total"] == 3

    def test_recovery_must_make_sense(self, technique, trained):
        with pytest.raises(UserError, match="trains between rounds, but 'steps' is 1"):
            technique(CHANNELS, trained, PruneChannels(recover_epochs=1, data="train"))
        with pytest.raises(UserError, match="'recover-epochs' needs labelled data"):
            technique(CHANNELS, trained, PruneChannels(recover_epochs=1, steps=2))

    def test_of_a_transformer_the_feed_forward_layers_get_thinner(self, technique, trained_sequence):
        model = trained_sequence("transformer")
        node = technique(CHANNELS, model, PruneChannels(ratio=0.5))
        made = weights(node.out)
        assert made["encoder.layers.0.linear1.weight"].shape == (64, 32)
        assert made["encoder.layers.1.self_attn.in_proj_weight"].shape == (96, 32)
        tuned = technique("cbuild_torch.train.finetune:train", node.out, Finetune(data="train", epochs=3, lr=2e-3)).out
        assert digits.accuracy(tuned) > digits.accuracy(model) - 0.03

    def test_taylor_of_a_regression(self, technique, toy):
        model = toy("regressor")
        node = technique(CHANNELS, model, PruneChannels(ratio=0.5, criterion="taylor", data="means"))
        assert weights(node.out)["1.weight"].shape == (8, 64)
