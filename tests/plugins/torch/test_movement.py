from __future__ import annotations

import digits
import pytest
import torch
from cbuild_torch.prune.movement import Movement
from cbuild_torch.prune.params.movement import PruneMovement
from cbuild_torch.prune.ramp import make_ramp
from safetensors.torch import load_file

from compressbuild.api import UserError

MOVEMENT = "cbuild_torch.prune.movement:prune"


def weights(directory):
    return load_file(directory / "weights.safetensors")


def test_scores_are_what_the_weights_moved_by():
    """S = −lr Σ ∂L/∂W' · W: of a weight that moves away from zero it rises, of one that shrinks it falls."""
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0, 3.0, 4.0]]))
    params = PruneMovement(data="d", sparsity=0.5, ramp="constant", unit="steps", begin=1, end=3, frequency=1)
    companion = Movement({"w": weight}, make_ramp(params, 10), params)
    (group,) = companion.groups()
    (score,) = group["params"]
    assert group["lr"] == params.score_lr
    companion.before(0)
    assert weight.tolist() == [[1, -2, 3, 4]]  # nothing is masked before 'begin'
    weight.grad = torch.tensor([[-1.0, 1.0, 1.0, 1.0]])  # the first two grow in magnitude under descent, two shrink
    companion.between()
    assert score.grad.tolist() == [[-1, -2, 3, 4]]
    companion.after()
    with torch.no_grad():
        score -= 0.1 * score.grad
    companion.before(1)
    assert weight.tolist() == [[1, -2, 0, 0]]  # the largest go
    weight.grad = torch.tensor([[0.0, 9.0, -9.0, 0.0]])
    companion.between()
    assert weight.tolist() == [[1, -2, 3, 4]]
    assert weight.grad.tolist() == [[0, 9, 0, 0]]  # through the mask
    assert score.grad.tolist() == [[0, -18, -27, 0]]  # straight past it
    companion.after()
    with torch.no_grad():
        score -= 0.1 * score.grad
    companion.before(2)
    assert weight.tolist() == [[0, -2, 3, 0]]  # one came back


@pytest.mark.parametrize(
    ("name", "pruned", "share", "more"),
    [
        ("cnn", "blocks.1.conv2.weight", 0.6, {"epochs": 5, "lr": 2e-3}),
        (
            "transformer",
            "encoder.layers.0.linear1.weight",
            0.5,
            {"epochs": 8, "lr": 3e-3, "batch_size": 32, "begin": 1},
        ),
    ],
)
def test_weights_go_in_each_tensor_and_accuracy_stays(technique, trained, trained_sequence, name, pruned, share, more):
    model = trained if name == "cnn" else trained_sequence(name)
    node = technique(MOVEMENT, model, PruneMovement(data="train", sparsity=share, **more))
    made, before = weights(node.out), weights(model)
    assert node.facts["sparsity"] == pytest.approx(share, abs=2e-3)
    assert digits.accuracy(node.out) > digits.accuracy(model) - 0.04
    zero = made[pruned] == 0
    assert zero.float().mean() == pytest.approx(share, abs=2e-3)
    assert before[pruned].abs()[zero].max() > before[pruned].abs()[~zero].min()  # it is not the magnitude that decides


def test_with_a_teacher(technique, untrained, trained):
    world = {"inputs": {"teacher": digits.as_input(trained)}, "references": {"big": "teacher"}}
    params = PruneMovement(data="train", epochs=4, lr=3e-3, sparsity=0.5, teacher="big", alpha=1.0)
    node = technique(MOVEMENT, untrained, params, **world)
    assert digits.accuracy(node.out) > 0.85  # it never saw a label


def test_the_first_step_knows_no_movement(technique, trained):
    with pytest.raises(UserError, match="no weight has moved yet") as error:
        technique(MOVEMENT, trained, PruneMovement(data="train", ramp="constant"))
    assert "begin" in (error.value.hint or "")
