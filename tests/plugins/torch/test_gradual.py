from __future__ import annotations

import digits
import pytest
import torch
from cbuild_torch.prune.gradual import Masking
from cbuild_torch.prune.params.gradual import PruneGradual
from cbuild_torch.prune.params.magnitude import PruneMagnitude
from cbuild_torch.prune.ramp import make_ramp
from cbuild_torch.train.params import Train
from safetensors.torch import load_file

from compressbuild.api import UserError

GRADUAL = "cbuild_torch.prune.gradual:prune"


def weights(directory):
    return load_file(directory / "weights.safetensors")


def zeros(directory):
    return {n: float((v == 0).float().mean()) for n, v in weights(directory).items() if v.dim() > 1}


class TestRamp:
    """In steps, 10 an epoch."""

    def ramp(self, **params):
        return make_ramp(PruneGradual(data="train", epochs=4, **params), 10)

    def test_the_cubic_ramp_is_that_of_the_paper(self):
        ramp = self.ramp(sparsity=0.8, initial=0.2, begin=1, end=3, frequency=0.5)
        assert (ramp.begin, ramp.every, ramp.times, ramp.end) == (10, 5, 4, 30)
        assert [step for step in range(40) if ramp.moves(step)] == [10, 15, 20, 25, 30]
        for step in (10, 15, 20, 25, 30):
            wanted = 0.8 + (0.2 - 0.8) * (1 - (step - 10) / (4 * 5)) ** 3
            assert ramp.at(step, 0.8) == pytest.approx(wanted)
        assert ramp.at(9, 0.8) == 0
        assert ramp.at(39, 0.8) == 0.8

    def test_linear_and_constant(self):
        linear = self.ramp(ramp="linear", unit="steps", begin=0, end=20, frequency=5)
        assert [linear.at(step, 0.8) for step in (0, 5, 10, 20)] == pytest.approx([0, 0.2, 0.4, 0.8])
        constant = self.ramp(ramp="constant", begin=1, end=2)
        assert [constant.at(step, 0.8) for step in (9, 10, 30)] == [0, 0.8, 0.8]

    def test_it_must_end_within_the_training(self):
        with pytest.raises(UserError, match="from step 10 to step 50: the training has steps 0 to 39") as error:
            self.ramp(begin=1, end=5)
        assert "more epochs" in (error.value.hint or "")
        with pytest.raises(UserError, match="from step 20 to step 10"):
            self.ramp(begin=2, end=1)


def test_eighty_percent_of_the_weights_go_and_accuracy_stays(technique, trained):
    params = PruneGradual(data="train", epochs=4, lr=2e-3, sparsity=0.8)
    node = technique(GRADUAL, trained, params)
    assert node.facts["sparsity"] == pytest.approx(0.8, abs=1e-4)
    assert digits.accuracy(node.out) > digits.accuracy(trained) - 0.02
    at_once = technique("cbuild_torch.prune.magnitude:prune", trained, PruneMagnitude(sparsity=0.8)).out
    assert digits.accuracy(at_once) < digits.accuracy(node.out) - 0.1
    # a training that follows keeps the zeros
    tuned = technique("cbuild_torch.train.finetune:train", node.out, Train(data="train", epochs=1)).out
    assert all(torch.equal(v == 0, weights(node.out)[n] == 0) for n, v in weights(tuned).items() if v.dim() > 1)


@pytest.mark.parametrize("name", ["transformer", "lstm"])
def test_attention_and_recurrent_weights_are_pruned_too(technique, trained_sequence, name):
    model = trained_sequence(name)
    params = PruneGradual(data="train", epochs=4, lr=3e-3, sparsity=0.6, ramp="linear")
    made = technique(GRADUAL, model, params).out
    assert sum(zeros(made).values()) > 0.3 * len(zeros(made))
    assert digits.accuracy(made) > digits.accuracy(model) - 0.06


def test_each_tensor_its_own_share(technique, trained):
    params = PruneGradual(
        data="train", epochs=1, scope="local", sparsity=0.5, overrides={"stem.*": 0.25}, ignore=("classify.*",)
    )
    share = zeros(technique(GRADUAL, trained, params).out)
    assert share.pop("stem.0.weight") == pytest.approx(0.25, abs=0.01)
    assert share.pop("classify.weight") < 0.05
    assert all(value == pytest.approx(0.5, abs=0.01) for value in share.values())


def masking(masked):
    """Four weights, masks moved before updates 0, 1 and 2; half of them zero from the beginning."""
    weight = torch.nn.Parameter(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    params = PruneGradual(
        data="d", sparsity=0.5, ramp="constant", unit="steps", begin=0, end=2, frequency=1, masked=masked
    )
    return weight, Masking({"w": weight}, make_ramp(params, 10), params, train_masked=masked == "train")


def update(weight, companion, number, change):
    """One update, in which the optimizer adds ``change`` to every weight. What the model computed with."""
    companion.before(number)
    seen = weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    companion.between()
    with torch.no_grad():
        weight += torch.tensor([change])
    companion.after()
    return seen.tolist()[0]


def test_masks_follow_from_the_dense_weights_so_a_weight_comes_back():
    weight, companion = masking("keep")
    assert update(weight, companion, 0, [9.0, 9.0, -2.5, 0.0]) == [0, 0, 3, 4]
    assert weight.tolist() == [[1, 2, 0.5, 4]]  # under the mask they kept their values
    assert weight.grad.tolist() == [[0, 0, 1, 1]]
    assert update(weight, companion, 1, [0.0, 0.0, 0.0, 0.0]) == [0, 2, 0, 4]


def test_weights_under_the_mask_may_go_on_learning():
    weight, companion = masking("train")
    assert update(weight, companion, 0, [9.0, 0.0, 0.0, 0.0]) == [0, 0, 3, 4]
    assert weight.tolist() == [[10, 2, 3, 4]]
    assert weight.grad.tolist() == [[1, 1, 1, 1]]
    assert update(weight, companion, 1, [0.0, 0.0, 0.0, 0.0]) == [10, 0, 0, 4]


def test_a_teacher_helps(technique, untrained, trained):
    world = {"inputs": {"teacher": digits.as_input(trained)}, "references": {"big": "teacher"}}
    params = PruneGradual(data="train", epochs=3, lr=3e-3, sparsity=0.6, teacher="big", alpha=1.0)
    node = technique(GRADUAL, untrained, params, **world)
    assert node.facts["sparsity"] == pytest.approx(0.6, abs=1e-4)
    assert digits.accuracy(node.out) > 0.85  # it never saw a label


def test_the_best_epoch_is_one_of_full_sparsity(technique, trained):
    params = PruneGradual(data="train", epochs=4, sparsity=0.9, validation="test", lr=3e-3)
    node = technique(GRADUAL, trained, params)
    assert node.facts["best_epoch"] == 4  # the ramp ends within the last epoch
    assert node.facts["sparsity"] == pytest.approx(0.9, abs=1e-4)
