from __future__ import annotations

import digits
import numpy as np
import pytest
import torch
from cbuild_torch.prune.params.magnitude import PruneMagnitude
from cbuild_torch.train.params import Distill, Finetune, Train
from safetensors.torch import load_file

from compressbuild.api import UserError

TRAIN = "cbuild_torch.train.finetune:train"
DISTILL = "cbuild_torch.train.distill:distill"
TOYS = ("toy_models:encoder", "toy_models:tagger")


def weights(directory):
    return load_file(directory / "weights.safetensors")


def test_training_learns(untrained, trained):
    assert digits.accuracy(untrained) < 0.3
    assert digits.accuracy(trained) > 0.95


def test_progress_rises_to_its_total_and_the_loss_falls(technique, untrained):
    node = technique(TRAIN, untrained, Train(data="train", epochs=2))
    done = [report["done"] for report in node.progress]
    assert done == sorted(done)
    assert node.progress[-1]["done"] == node.progress[-1]["total"] == 2
    assert node.progress[-1]["loss"] < node.progress[0]["loss"]
    assert node.facts["loss"] == node.progress[-1]["loss"]
    assert node.facts["steps"] == len(done)


@pytest.mark.parametrize("keep", [True, False])
def test_zeros_stay_zero_unless_told_otherwise(technique, trained, keep):
    sparse = technique("cbuild_torch.prune.magnitude:prune", trained, PruneMagnitude(sparsity=0.8)).out
    before = weights(sparse)
    tuned = technique(TRAIN, sparse, Finetune(data="train", epochs=1, keep_zeros=keep))
    after = weights(tuned.out)
    name = "blocks.1.conv2.weight"
    zeros = before[name] == 0
    assert zeros.float().mean() > 0.5
    assert bool((after[name][zeros] == 0).all()) is keep
    assert not torch.equal(before[name], after[name])
    if keep:
        assert digits.accuracy(tuned.out) > digits.accuracy(sparse) + 0.1


def test_a_zero_that_pruning_did_not_make_may_change(technique, trained):
    """Biases of a fresh layer are zero, and must be trained."""
    before, after = weights(trained), weights(technique(TRAIN, trained, Finetune(data="train", epochs=1)).out)
    assert all((value != after[name]).any() for name, value in before.items())


@pytest.mark.parametrize(
    "params",
    [
        {"optimizer": "sgd", "lr": 0.05, "schedule": "step"},
        {"optimizer": "adam", "schedule": "linear", "warmup": 0.5, "clip": 1.0},
        {"optimizer": "adamw", "schedule": "constant", "label_smoothing": 0.1},
    ],
)
def test_each_optimizer_and_schedule_learns(technique, untrained, params):
    node = technique(TRAIN, untrained, Train(data="train", epochs=2, **params))
    assert digits.accuracy(node.out) > 0.8


def test_frozen_parameters_stay(technique, trained):
    before = weights(trained)
    after = weights(technique(TRAIN, trained, Train(data="train", epochs=1, freeze=("stem.*", "blocks.*"))).out)
    assert torch.equal(before["blocks.0.conv1.weight"], after["blocks.0.conv1.weight"])
    assert not torch.equal(before["classify.weight"], after["classify.weight"])
    with pytest.raises(UserError, match="'freeze: tail' matches no parameter"):
        technique(TRAIN, trained, Train(data="train", freeze=("tail",)))
    with pytest.raises(UserError, match="every parameter is frozen"):
        technique(TRAIN, trained, Train(data="train", freeze=("*",)))


def test_a_loss_of_ones_own(technique, trained):
    feeds, _ = digits.held_out()
    node = technique(TRAIN, trained, Train(data="train", epochs=2, lr=0.01, loss="toy_models:pessimist"))
    before, after = digits.outputs(trained, feeds)["output"], digits.outputs(node.out, feeds)["output"]
    assert np.abs(after).mean() < 0.3 * np.abs(before).mean()


def test_float_labels_are_a_regression(technique, toy):
    start = toy("regressor")
    node = technique(TRAIN, start, Train(data="means", epochs=5, lr=0.01))
    assert node.facts["loss"] < 0.01
    with pytest.raises(UserError, match=r"labels are float \[64, 1\] but the output is \[64, 10\]"):
        technique(TRAIN, toy("mlp"), Train(data="means"))


def test_tokens_through_a_loss_of_ones_own(technique, toy):
    params = Train(data="brightest", epochs=15, lr=0.01, loss="toy_models:tagging")
    feeds, _ = digits.held_out()
    found = digits.outputs(technique(TRAIN, toy("tagger"), params).out, feeds, TOYS)["output"]
    rows = feeds["image"][:, 0]
    chosen = np.take_along_axis(rows, found.argmax(-1)[..., None], -1)[..., 0]
    assert (chosen == rows.max(-1)).mean() > 0.9  # of several that are equally bright any one is right


def test_embeddings_through_a_loss_of_ones_own(technique, toy):
    feeds, labels = digits.held_out()

    def gap(directory) -> float:
        """How much nearer samples of one label are to each other than to others, in cosine."""
        vectors = digits.outputs(directory, feeds, TOYS)["output"]
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        same, cosine = labels[:, None] == labels, vectors @ vectors.T
        return float(cosine[same].mean() - cosine[~same].mean())

    start = toy("encoder")
    params = Train(data="train", epochs=5, lr=0.01, loss="toy_models:contrastive")
    assert gap(technique(TRAIN, start, params).out) > gap(start) + 0.4


def test_a_last_batch_of_one_sample_is_left_out(technique, untrained):
    assert technique(TRAIN, untrained, Train(data="one-too-many", epochs=1)).facts["steps"] == 1


def test_what_cannot_be_trained_is_explained(technique, toy, untrained):
    with pytest.raises(UserError, match=r"integer labels 0…9 of shape \[N\] do not fit an output of shape \[64, 5\]"):
        technique(TRAIN, toy("fewer_classes"), Train(data="train"))
    with pytest.raises(UserError, match=r"the output has \d+ rows for 64 samples"):
        technique(TRAIN, toy("choosy"), Train(data="train"))
    with pytest.raises(UserError, match="training diverged in epoch 1: the loss is nan") as error:
        technique(TRAIN, untrained, Train(data="train", loss="toy_models:exploding"))
    assert "lr" in (error.value.hint or "")


class TestDistill:
    """A student learns the teacher's outputs."""

    def teacher(self, directory):
        return {"inputs": {"teacher": digits.as_input(directory)}, "references": {"big": "teacher"}}

    @pytest.mark.parametrize("form", ["torch", "onnx"])
    def test_from_any_teacher_that_runs(self, technique, untrained, trained, exported, form):
        params = Distill(data="train", teacher="big", epochs=3, lr=3e-3, alpha=1.0)
        world = self.teacher(trained if form == "torch" else exported)
        node = technique(DISTILL, untrained, params, **world)
        assert digits.accuracy(node.out) > 0.9

    def test_soft_targets_bring_the_outputs_closer(self, technique, untrained, trained):
        feeds, _ = digits.held_out()
        wanted = digits.outputs(trained, feeds)["output"]

        def distance(alpha: float) -> float:
            params = Distill(data="train", teacher="big", epochs=3, lr=3e-3, alpha=alpha, temperature=4)
            found = digits.outputs(technique(DISTILL, untrained, params, **self.teacher(trained)).out, feeds)["output"]
            return float(np.abs(softened(found) - softened(wanted)).mean())

        assert distance(1.0) < 0.9 * distance(0.0)

    def test_classes_must_agree(self, technique, toy, trained):
        with pytest.raises(UserError, match=r"has \[10\] per sample in teacher 'big', but \[5\] in the student"):
            technique(DISTILL, toy("fewer_classes"), Distill(data="train", teacher="big"), **self.teacher(trained))


def softened(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits / 4 - (logits / 4).max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
