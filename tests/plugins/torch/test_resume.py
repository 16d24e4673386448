from __future__ import annotations

from pathlib import Path

import digits
import pytest
import torch
from cbuild_torch.model.checkpoint import Checkpoint
from cbuild_torch.train.params import Train
from safetensors.torch import load_file

from compressbuild.api import UserError
from compressbuild.api.testing import make_context

TRAIN = "cbuild_torch.train.finetune:train"


def weights(directory):
    return load_file(directory / "weights.safetensors")


def test_a_killed_training_goes_on_and_makes_the_same_bytes(python, tmp_path):
    """Dropout and batch norm, AdamW and SGD, accumulation and early stopping, masks, projections, rounds of pruning."""
    said = python(Path(__file__).with_name("resume.py"), tmp_path, cwd=tmp_path)
    lines = [
        line.split() for line in said.splitlines() if line.split()[0] in ("train", "distill", "gradual", "channels")
    ]
    assert len(lines) == 4
    for name, whole, resumed, calls, _, calls_again, started, *left in lines:
        assert whole == resumed, name
        assert int(calls_again) < int(calls), name  # it did not begin anew
        assert float(started) > 0.4, name
        assert left[0].endswith(".safetensors"), name


def test_a_damaged_checkpoint_is_not_used(technique, untrained, tmp_path):
    params = Train(data="train", epochs=1)
    whole = technique(TRAIN, untrained, params).out
    place = tmp_path / "checkpoint"
    place.mkdir()
    for damage in (b"", b"\x08\0\0\0\0\0\0\0{}      ", b"nonsense" * 9):
        (place / "training.safetensors").write_bytes(damage)
        again = technique(TRAIN, untrained, params, checkpoint=place).out
        assert torch.equal(weights(again)["classify.weight"], weights(whole)["classify.weight"])


def test_a_checkpoint_comes_back_to_the_last_bit(tmp_path):
    ctx = make_context(tmp_path / "out", checkpoint=tmp_path / "kept")
    kept = Checkpoint(ctx, "training")
    assert kept.read() is None
    values = {"a": torch.randn(3, 4).t(), "flag": torch.tensor([True, False]), "step": torch.tensor(7.0)}
    kept.save(values, {"best": float("inf"), "mean": 0.1 + 0.2})
    tensors, facts = Checkpoint(ctx, "training").read()
    assert all(torch.equal(tensors[name], value) for name, value in values.items())
    assert facts == {"best": float("inf"), "mean": 0.1 + 0.2}
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["training.safetensors"]


def test_without_a_place_nothing_is_kept(tmp_path):
    kept = Checkpoint(make_context(tmp_path / "out"), "training")
    kept.save({"a": torch.ones(1)}, {})
    assert not kept.kept
    assert kept.read() is None


def test_accumulated_batches_make_the_update_of_one_large_batch(technique, toy):
    """Plain SGD without normalisation: the gradient of 4 × 32 samples is that of 128."""
    model = toy("mlp")
    base = {"data": "train", "epochs": 1, "optimizer": "sgd", "momentum": 0.0, "lr": 0.1, "schedule": "constant"}
    one = technique(TRAIN, model, Train(batch_size=128, **base))
    four = technique(TRAIN, model, Train(batch_size=32, accumulate=4, **base))
    assert one.facts["steps"] == four.facts["steps"] == 10
    for name, value in weights(one.out).items():
        torch.testing.assert_close(weights(four.out)[name], value, atol=1e-5, rtol=1e-4)
    alone = weights(technique(TRAIN, model, Train(batch_size=32, **base)).out)
    assert not torch.allclose(alone["1.weight"], weights(one.out)["1.weight"], atol=1e-3)


def test_training_stops_when_validation_gets_no_better_and_keeps_the_best(technique, toy):
    model = toy("mlp")
    params = Train(data="train", epochs=40, lr=0.05, schedule="constant", validation="test", patience=2)
    node = technique(TRAIN, model, params)
    assert node.facts["epochs"] == node.facts["best_epoch"] + 2 < 40
    assert node.progress[-1]["done"] == node.progress[-1]["total"]
    at_best = technique(TRAIN, model, Train(**{**plain(params), "patience": None, "epochs": node.facts["best_epoch"]}))
    assert at_best.facts["validation_loss"] == node.facts["validation_loss"]
    assert torch.equal(weights(at_best.out)["1.weight"], weights(node.out)["1.weight"])


def plain(params):
    return {name: getattr(params, name) for name in params.__struct_fields__}


def test_patience_needs_data(technique, untrained):
    with pytest.raises(UserError, match="'patience' needs validation data"):
        technique(TRAIN, untrained, Train(data="train", patience=1))


def test_the_digits_network_learns_with_its_best_epoch(technique, untrained):
    node = technique(TRAIN, untrained, Train(data="train", epochs=3, lr=3e-3, validation="calibration", min_delta=0.01))
    assert 1 <= node.facts["best_epoch"] <= 3
    assert digits.accuracy(node.out) > 0.85
