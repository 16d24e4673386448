from __future__ import annotations

import digits
import numpy as np
import pytest
import torch
from cbuild_torch.prune.params.recurrent import PruneRecurrent
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.train.params import Finetune
from safetensors.torch import load_file

from compressbuild.api import UserError

RECURRENT = "cbuild_torch.prune.recurrent:prune"
FINETUNE = "cbuild_torch.train.finetune:train"


def weights(directory):
    return load_file(directory / "weights.safetensors")


def images(count=5):
    return {"image": np.random.default_rng(1).standard_normal((count, 1, 8, 8)).astype(np.float32)}


class TestUnits:
    @pytest.mark.parametrize(("name", "gates"), [("lstm", 4), ("gru", 3)])
    def test_the_state_gets_smaller_and_accuracy_comes_back(self, technique, trained_sequence, name, gates):
        model = trained_sequence(name)
        node = technique(RECURRENT, model, PruneRecurrent(ratio=0.5))
        shapes = {key: tuple(value.shape) for key, value in weights(node.out).items()}
        assert shapes["rnn.weight_hh_l0"] == (gates * 24, 24)
        assert shapes["rnn.weight_ih_l0"] == (gates * 24, 8)
        assert shapes["head.weight"] == (10, 24)
        assert node.facts["units"] == {"rnn": 24}
        assert node.facts["parameters"] == sum(value.numel() for value in weights(node.out).values())
        assert node.facts["parameters"] < 0.4 * node.facts["parameters_before"]
        tuned = technique(FINETUNE, node.out, Finetune(data="train", epochs=4, lr=5e-3)).out
        assert digits.accuracy(tuned) > digits.accuracy(model) - 0.06

    @pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
    def test_two_layers_both_directions_and_the_last_state(self, technique, toy, kind):
        """The result is compared with silenced units inside; the two consumers of one unit lose the same one."""
        model = toy("rnn_stack", kind=kind)
        made = weights(technique(RECURRENT, model, PruneRecurrent(ratio=0.5)).out)
        before = weights(model)
        assert made["pooled.weight"].shape == (10, 16)
        assert made["last.weight"].shape == (10, 8)
        assert made["rnn.weight_ih_l1_reverse"].shape[1] == 16
        column = made["last.weight"][:, 0]  # the backward direction of the last layer: second half of the pooled ones
        (unit,) = [j for j in range(16) if torch.equal(before["last.weight"][:, j], column)]
        assert torch.equal(made["pooled.weight"][:, 8], before["pooled.weight"][:, 16 + unit])

    def test_one_layer_after_another_and_added_directions(self, technique, toy):
        node = technique(RECURRENT, toy("rnn_pair"), PruneRecurrent(ratio=0.5, overrides={"first": 0.34}))
        made = weights(node.out)
        assert node.facts["units"] == {"first": 16, "second": 8}
        assert made["second.weight_ih_l0"].shape == made["second.weight_ih_l0_reverse"].shape == (24, 16)
        assert made["head.weight"].shape == (10, 8)

    def test_a_normalisation_between_follows(self, technique, toy):
        made = weights(technique(RECURRENT, toy("rnn_stack", norm=True), PruneRecurrent(ratio=0.5)).out)
        assert made["norm.weight"].shape == made["norm.bias"].shape == (16,)

    def test_the_least_important_units_go(self, technique, trained_sequence, tmp_path):
        from safetensors.torch import save_file

        model = technique(FINETUNE, trained_sequence("gru"), Finetune(data="train", epochs=1)).out
        state = weights(model)
        for name, value in state.items():  # the odd units are silent
            if name.startswith("rnn."):
                value.view(3, 48, -1)[:, 1::2] = 0
        state["rnn.weight_hh_l0"][:, 1::2] = 0
        state["head.weight"][:, 1::2] = 0
        save_file(state, model / "weights.safetensors")
        made = technique(RECURRENT, model, PruneRecurrent(ratio=0.5)).out
        assert torch.equal(weights(made)["head.weight"], state["head.weight"][:, ::2])
        found, wanted = (digits.outputs(one, images())["output"] for one in (made, model))
        np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-4)

    def test_twice_and_exported(self, technique, trained_sequence):
        once = technique(RECURRENT, trained_sequence("lstm"), PruneRecurrent(ratio=0.34)).out
        twice = technique(RECURRENT, once, PruneRecurrent(ratio=0.5))
        assert (twice.facts["units_before"], twice.facts["units"]) == ({"rnn": 32}, {"rnn": 16})
        out = technique("cbuild_torch.to_onnx.export:export", twice.out, ExportOnnx()).out
        wanted = digits.outputs(twice.out, images())["output"]
        np.testing.assert_allclose(digits.outputs(out, images())["output"], wanted, atol=1e-4, rtol=1e-3)

    def test_what_does_not_fit_is_refused_with_what_would(self, technique, toy, trained):
        for name, said in (
            ("rnn_fixed", "does not run"),
            ("rnn_gives", "reaches an output of the model"),
        ):
            with pytest.raises(UserError, match=said) as error:
                technique(RECURRENT, toy(name), PruneRecurrent())
            assert "mode: weights" in (error.value.hint or "")
        with pytest.raises(UserError, match="no recurrent layer") as error:
            technique(RECURRENT, trained, PruneRecurrent())
        assert "prune.channels" in (error.value.hint or "")
        with pytest.raises(UserError, match="no layer gets smaller: rnn has 16 units"):
            technique(RECURRENT, toy("recurrent"), PruneRecurrent(ratio=0.1))
        with pytest.raises(UserError, match="'ignore:' leaves no recurrent layer"):
            technique(RECURRENT, toy("recurrent"), PruneRecurrent(ignore=("*",)))


class TestWeights:
    def test_recurrent_weights_are_zeroed_and_stay_so(self, technique, trained_sequence):
        model = trained_sequence("gru")
        node = technique(RECURRENT, model, PruneRecurrent(mode="weights", ratio=0.8))
        made, before = weights(node.out), weights(model)
        assert (made["rnn.weight_hh_l0"] == 0).float().mean() == pytest.approx(0.8, abs=1e-3)
        assert torch.equal(made["rnn.weight_ih_l0"], before["rnn.weight_ih_l0"])
        assert node.facts["sparsity"] == pytest.approx(0.8, abs=1e-3)
        tuned = technique(FINETUNE, node.out, Finetune(data="train", epochs=3, lr=5e-3)).out
        assert torch.equal(weights(tuned)["rnn.weight_hh_l0"] == 0, made["rnn.weight_hh_l0"] == 0)
        assert digits.accuracy(tuned) > digits.accuracy(model) - 0.05

    def test_input_weights_too_and_each_layer_its_share(self, technique, toy):
        params = PruneRecurrent(mode="weights", ratio=0.5, input_weights=True, overrides={"first": 0.25})
        made = weights(technique(RECURRENT, toy("rnn_pair"), params).out)
        share = {name: float((value == 0).float().mean()) for name, value in made.items()}
        assert share["first.weight_ih_l0"] == share["first.weight_hh_l0"] == 0.25
        assert share["second.weight_hh_l0_reverse"] == 0.5
        assert share["head.weight"] == 0
