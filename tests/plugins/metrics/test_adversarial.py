"""Attacks: against the closed form on a linear model, inside their ball, and through a real graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import digits
import msgspec
import numpy as np
import pytest
import torch
from cbuild_kit import arrays
from cbuild_kit.predictions import Examples, Predictions
from cbuild_metrics.robustness.adversarial import fgsm as fgsm_accuracy
from cbuild_metrics.robustness.adversarial import predict_examples
from cbuild_metrics.robustness.attack import Ball, fgsm, pgd
from cbuild_metrics.robustness.params.attacks import Attacked, Fgsm, FgsmAccuracy, Pgd, PgdAccuracy
from fake_runner import FakeRunner
from sklearn.metrics import accuracy_score

from compressbuild.api import UserError, WorkInput
from compressbuild.api.testing import make_context, run_node


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits.source(tmp_path_factory.mktemp("attack") / "net", width=8)


def images(count: int) -> tuple[np.ndarray, np.ndarray]:
    from examples.digits import data

    feeds, labels = arrays(data.test(), ["image"], limit=count)
    return feeds["image"], labels


def test_fgsm_of_a_linear_model_is_the_closed_form() -> None:
    """The cross-entropy of softmax(Wx) has the gradient Wᵀ(p − y)."""
    rng = np.random.default_rng(3)
    weights, x = rng.standard_normal((4, 6)), rng.random((20, 6))
    labels = rng.integers(0, 4, 20)
    scores = np.exp(x @ weights.T)
    p = scores / scores.sum(1, keepdims=True)
    by_hand = np.clip(x + 0.07 * np.sign((p - np.eye(4)[labels]) @ weights), 0, 1)

    def gradient(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        leaf = inputs["x"].clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(leaf @ torch.from_numpy(weights).T, torch.from_numpy(labels))
        return {"x": torch.autograd.grad(loss, leaf)[0]}

    ball = {"x": Ball(torch.tensor(0.07), torch.tensor(0.0), torch.tensor(1.0))}
    found = fgsm(gradient, {"x": torch.from_numpy(x)}, ball)["x"]
    np.testing.assert_allclose(found.numpy(), by_hand, atol=1e-7)
    one_step = pgd(gradient, {"x": torch.from_numpy(x)}, ball, steps=1, share=1.0, start=None)["x"]
    np.testing.assert_allclose(one_step.numpy(), by_hand, atol=1e-7)
    far = pgd(gradient, {"x": torch.from_numpy(x)}, ball, steps=9, share=0.9, start=torch.Generator())["x"].numpy()
    assert np.abs(far - x).max() <= 0.07 + 1e-6
    assert far.min() >= 0
    assert far.max() <= 1


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_examples_stay_in_the_ball_and_cost_accuracy(name: str, network: Path, tmp_path: Path) -> None:
    kind = {"fgsm": Fgsm, "pgd": Pgd}[name]
    params = kind(data="test", eps=(0.01, 0.3), clip=(0, 1), samples=120)
    before, labels = images(120)
    node = digits.apply(f"cbuild_metrics.robustness.attack:{name}_examples", network, params, tmp_path / "x")
    made = Examples.read(node.out)
    moved = made.inputs["image"].reshape(2, *before.shape)
    for row, eps in zip(moved, params.eps, strict=True):
        assert 0.9 * eps < np.abs(row - before).max() <= eps + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1
    np.testing.assert_array_equal(made.labels, np.tile(labels, 2))
    shares = [accuracy_score(labels, digits.outputs(network, {"image": row})["output"].argmax(1)) for row in moved]
    assert list(node.facts["attacked"].values()) == pytest.approx(shares)
    assert node.facts["samples"] == 120
    assert shares[1] <= node.facts["accuracy"]
    again = digits.apply(f"cbuild_metrics.robustness.attack:{name}_examples", network, params, tmp_path / "y").out
    assert (again / "inputs/image.npy").read_bytes() == (node.out / "inputs/image.npy").read_bytes()


def test_pgd_raises_the_loss_more_than_fgsm(network: Path, tmp_path: Path) -> None:
    _, labels = images(120)
    losses = {}
    for name, params in (
        ("fgsm", Fgsm(data="test", eps=(0.2,), samples=120)),
        ("pgd", Pgd(data="test", eps=(0.2,), samples=120)),
    ):
        out = digits.apply(f"cbuild_metrics.robustness.attack:{name}_examples", network, params, tmp_path / name).out
        logits = digits.outputs(network, {"image": Examples.read(out).inputs["image"]})["output"]
        losses[name] = float(torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)))
    assert losses["pgd"] > losses["fgsm"]


def test_eps_and_clip_are_those_of_the_pixels(network: Path, tmp_path: Path) -> None:
    """The digits as a loader would have normalised them: std 0.5, mean 0.25."""
    before, _ = images(50)
    params = Fgsm(data="test", eps=(0.1,), mean=(0.25,), std=(0.5,), clip=(0.2, 0.8), samples=50)
    with pytest.raises(UserError, match=r"ranges from 0.25 to 0.75, outside of clip 0.3") as caught:
        digits.apply(
            "cbuild_metrics.robustness.attack:fgsm_examples",
            network,
            msgspec.structs.replace(params, clip=(0.3, 0.8)),
            tmp_path / "e",
        )
    assert caught.value.hint is not None
    assert "mean and std" in caught.value.hint
    out = digits.apply("cbuild_metrics.robustness.attack:fgsm_examples", network, params, tmp_path / "x").out
    moved = Examples.read(out).inputs["image"]
    assert np.abs(moved - before).max() == pytest.approx(0.2, rel=1e-4)
    assert moved.min() == pytest.approx((0.2 - 0.25) / 0.5, rel=1e-4)
    assert moved.max() <= (0.8 - 0.25) / 0.5 + 1e-6
    with pytest.raises(UserError, match="'std' has 3 values, input 'image' has the shape"):
        digits.apply(
            "cbuild_metrics.robustness.attack:fgsm_examples",
            network,
            msgspec.structs.replace(params, std=(1, 1, 1)),
            tmp_path / "s",
        )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"eps": [0.1, 0.1]}, "has a value twice"),
        ({"clip": [1, 0]}, "is empty: 1 is not below 0"),
        ({"eps": [0]}, "> 0"),
        ({"steps": 0}, ">= 1"),
    ],
)
def test_parameters_that_make_no_sense(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(wrong, PgdAccuracy)


def test_the_target_is_shown_the_examples(fake: Callable[..., Any], tmp_path: Path) -> None:
    """A model of one input takes them by whatever name; accuracy for each eps is scikit-learn's."""
    rng = np.random.default_rng(1)
    x, labels = rng.random((60, 5)).astype(np.float32), np.tile(rng.integers(0, 5, 20), 3)
    (tmp_path / "examples").mkdir()
    Examples({"image": x}, labels).write(tmp_path / "examples")
    runner = FakeRunner(lambda pixels: {"logits": pixels}, pixels=(("batch", 5), "float32"))
    ctx = fake(subject=runner)
    ctx._request.inputs["examples"] = WorkInput(path=str(tmp_path / "examples"), kind="examples")
    predict_examples(ctx, tmp_path, Attacked(batch=16))
    np.testing.assert_array_equal(Predictions.read(ctx.out).outputs["logits"], x)
    found = fgsm_accuracy(make_context(tmp_path / "m"), ctx.out, FgsmAccuracy(eps=(0.3, 0.1, 0.2)))
    parts = [accuracy_score(labels[a : a + 20], x[a : a + 20].argmax(1)) for a in (0, 20, 40)]
    assert list(found["per_class"]) == ["eps 0.3", "eps 0.1", "eps 0.2"]
    assert [row["correct"] / row["n"] for row in found["per_class"].values()] == pytest.approx(parts)
    assert (found["value"], found["n"]) == (pytest.approx(parts[0]), 20)
    two = fake(subject=FakeRunner(lambda a, b: {"y": a}, a=(("batch", 5), "float32"), b=(("batch", 5), "float32")))
    two._request.inputs["examples"] = ctx._request.inputs["examples"]
    with pytest.raises(UserError, match="a model with the inputs image, not a, b"):
        predict_examples(two, tmp_path, Attacked())


def test_what_cannot_be_attacked(network: Path, tmp_path: Path) -> None:
    world = {"datasets": {"test": "test_adversarial:numbers"}}
    with pytest.raises(UserError, match="needs labels that are classes"):
        digits.apply(
            "cbuild_metrics.robustness.attack:fgsm_examples", network, Fgsm(data="test"), tmp_path / "x", **world
        )
    inputs = [["tokens", ["batch", 3], "int64"]]
    asked = {"factory": "test_adversarial:Bag", "args": {}, "weights": None, "inputs": inputs}
    factories = ("test_adversarial:Bag",)
    bag = run_node("cbuild_torch.model.source:init", None, asked, tmp_path / "bag", factories=factories).out
    world = {"datasets": {"test": "test_adversarial:tokens"}, "factories": factories}
    with pytest.raises(UserError, match=r"no input is of floating point \(tokens\)"):
        digits.apply("cbuild_metrics.robustness.attack:fgsm_examples", bag, Fgsm(data="test"), tmp_path / "y", **world)


class Bag(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(5, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table(tokens).sum(1)


def tokens() -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.ones((4, 3), np.int64), np.zeros(4, int))]


def numbers() -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.zeros((4, 1, 8, 8), np.float32), np.zeros((4, 10), np.float32))]
