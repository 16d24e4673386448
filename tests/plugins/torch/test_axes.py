"""Losses of sequence models and of models with several outputs, against losses written out by hand."""

from __future__ import annotations

import pytest
import torch
from cbuild_torch.model.objective import Samples, Task, class_axis, task_loss
from cbuild_torch.model.soft import SoftTarget, soft_loss
from torch.nn.functional import cross_entropy

from compressbuild.api import UserError

N, T, V = 4, 6, 9


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def classes(*shape, count=V, seed=1):
    return torch.randint(0, count, shape, generator=torch.Generator().manual_seed(seed))


def loss_of(labels, output, inputs=None, **task):
    samples = Samples(inputs or {"x": torch.zeros(len(labels), 3)}, labels)
    return task_loss(None, Task(**task), samples)(output, torch.arange(len(labels)))


def by_hand(rows, wanted):
    """Mean over all positions of −log of the wanted class's probability."""
    each = [-torch.log(row.exp()[label] / row.exp().sum()) for row, label in zip(rows, wanted, strict=True)]
    return torch.stack(each).mean()


@pytest.mark.parametrize("length", [1, 2, T, V, 2 * V])
def test_a_sequence_has_its_classes_last(length):
    output, labels = random(N, length, V), classes(N, length)
    assert torch.allclose(loss_of(labels, output), by_hand(output.flatten(0, 1), labels.flatten()))


@pytest.mark.parametrize("size", [2, 5, V])
def test_a_map_has_its_classes_second(size):
    output, labels = random(N, V, size, size), classes(N, size, size)
    rows = output.permute(0, 2, 3, 1).flatten(0, 2)
    assert torch.allclose(loss_of(labels, output), by_hand(rows, labels.flatten()))


def test_signals_with_classes_second_where_the_shapes_say_so():
    output, labels = random(N, V, T), classes(N, T)
    assert torch.allclose(loss_of(labels, output), by_hand(output.transpose(1, 2).flatten(0, 1), labels.flatten()))


def test_the_axis_can_be_said():
    output, labels = random(N, V, V), classes(N, V)
    assert torch.allclose(loss_of(labels, output, class_axis=1), cross_entropy(output, labels))
    with pytest.raises(UserError, match="do not fit"):
        loss_of(classes(N, T), random(N, T, V), class_axis=1)


def test_ignored_labels_do_not_count():
    output, labels = random(N, T, V), classes(N, T)
    labels[:, 3:] = -100
    assert torch.allclose(loss_of(labels, output), by_hand(output[:, :3].flatten(0, 1), labels[:, :3].flatten()))
    assert float(loss_of(torch.full((N, T), -100), output)) == 0


@pytest.mark.parametrize("shape", [(N, T + 1, V), (N, V), (N, T, T, V)])
def test_what_fits_nowhere_is_refused(shape):
    with pytest.raises(UserError, match="do not fit an output of shape"):
        loss_of(classes(N, T), random(*shape))


def test_labels_that_are_the_inputs_are_refused():
    ids = classes(N, T)
    with pytest.raises(UserError, match="labels are the input 'ids' itself") as error:
        loss_of(ids, random(N, T, V), {"ids": ids})
    assert "ids[:, 1:]" in (error.value.hint or "")


def divergence(known, output, temperature):
    """T²·KL over the last axis, summed by hand."""
    p, q = (value / temperature for value in (known, output))
    p, q = p.softmax(-1), q.softmax(-1)
    return temperature**2 * (p * (p.log() - q.log())).sum(-1).mean()


def soft(known, output, match="kl", axis=None, temperature=2.0):
    axis = known.dim() - 1 if axis is None else axis
    targets = {"output": SoftTarget(known, match, axis)}
    return soft_loss(targets, None, alpha=1.0, temperature=temperature)(output, torch.arange(len(output)))


@pytest.mark.parametrize("length", [1, T, V])
def test_the_divergence_is_over_the_vocabulary(length):
    known, output = 3 * random(N, length, V), 3 * random(N, length, V, seed=2)
    assert torch.allclose(soft(known, output), divergence(known, output, 2.0), rtol=1e-5)


def test_a_bias_of_the_vocabulary_costs():
    known = random(N, T, V)
    assert soft(known, known + 50 * random(N, 1, V, seed=3)) > 10
    assert soft(known, known + 50 * random(N, T, 1, seed=3)) < 1e-4  # one for all classes changes nothing


@pytest.mark.parametrize(
    ("shape", "labels", "axis"),
    [
        ((N, V), (N,), 1),
        ((N, T, V), (N, T), 2),
        ((N, V, T), (N, T), 1),
        ((N, V, V), (N, V), 2),
        ((N, V, T, 2), (N, T, 2), 1),
        ((N, V, V, V), (N, V, V), 1),
        ((N, T, 2, V), (N, T, 2), 3),
        ((N, T, V), (N,), None),
        ((N, T, V), (N, V + 1), None),
    ],
)
def test_where_classes_are(shape, labels, axis):
    assert class_axis(torch.Size(shape), torch.zeros(labels, dtype=torch.int64)) == axis


def test_several_outputs_have_a_column_each():
    start, end, labels = random(N, V), random(N, V, seed=5), classes(N, 2)
    outputs = {"start": start, "end": end, "other": random(N, 1)}
    wanted = by_hand(start, labels[:, 0]) + by_hand(end, labels[:, 1])
    assert torch.allclose(loss_of(labels, outputs, outputs=("start", "end")), wanted)
    with pytest.raises(UserError, match="names 2 outputs, but labels are"):
        loss_of(classes(N), outputs, outputs=("start", "end"))
    with pytest.raises(UserError, match="no output 'stop'") as error:
        loss_of(classes(N), outputs, outputs=("stop",))
    assert error.value.hint == "it has: start, end, other"
