"""Corruptions of inputs whose effect is known, and a trained network under them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbuild_kit.predictions import Predictions
from cbuild_metrics.robustness.corrupt import CORRUPTIONS, corrupted, corruption, predict_corrupted
from cbuild_metrics.robustness.params.corruption import Corrupt, Corruption
from fake_runner import FakeRunner
from PIL import Image
from scipy.ndimage import uniform_filter
from sklearn.metrics import accuracy_score

from compressbuild.api import UserError
from compressbuild.api.testing import make_context


def images(rng: np.random.Generator) -> np.ndarray:
    return (5 + 3 * rng.random((40, 3, 16, 12))).astype(np.float32)


def test_noise_is_of_the_samples_range(rng: np.random.Generator) -> None:
    x = images(rng)
    x[1] *= 10
    added = corrupted(x, "noise", 3, rng) - x
    for sample in (0, 1):
        assert added[sample].std() == pytest.approx(0.18 * np.ptp(x[sample]), rel=0.15)


def test_contrast_and_brightness(rng: np.random.Generator) -> None:
    x = images(rng)
    flat, lit = corrupted(x, "contrast", 4, rng), corrupted(x, "brightness", 2, rng)
    assert flat.std(axis=(1, 2, 3)) == pytest.approx(0.1 * x.std(axis=(1, 2, 3)), rel=1e-3)
    assert flat.mean(axis=(1, 2, 3)) == pytest.approx(x.mean(axis=(1, 2, 3)), rel=1e-4)
    np.testing.assert_allclose(
        lit - x, np.broadcast_to(0.2 * np.ptp(x, axis=(1, 2, 3), keepdims=True), x.shape), rtol=1e-3
    )


def test_blur_is_scipys_uniform_filter(rng: np.random.Generator) -> None:
    x = images(rng)
    expected = x.astype(float)
    for _ in range(3):
        expected = uniform_filter(expected, (1, 1, 3, 3), mode="nearest")
    np.testing.assert_allclose(corrupted(x, "blur", 3, rng), expected, rtol=1e-5)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_higher_severity_takes_it_farther(name: str, rng: np.random.Generator) -> None:
    x = images(rng).cumsum(2).cumsum(3)  # smooth, as images are
    far = [float(np.abs(corrupted(x, name, severity, rng) - x).mean()) for severity in (1, 2, 3, 4, 5)]
    assert far == sorted(far)
    assert corrupted(x, name, 1, rng).dtype == np.float32


def test_what_cannot_be_corrupted(rng: np.random.Generator) -> None:
    with pytest.raises(UserError, match="inputs of int64"):
        corrupted(np.arange(6).reshape(2, 3), "noise", 1, rng)
    with pytest.raises(UserError, match="cannot be blurred") as caught:
        corrupted(np.ones((2, 3), np.float32), "blur", 1, rng)
    assert caught.value.hint is not None
    assert "corruptions: [noise" in caught.value.hint
    with pytest.raises(UserError, match=r"N×\[2, 8, 8\] are not images"):
        corrupted(np.ones((2, 2, 8, 8), np.float32), "jpeg", 1, rng)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillows(channels: int, rng: np.random.Generator) -> None:
    """By hand, on an image that already is of 8 bits; then one of another range, and one that is all of one value."""
    pixels = rng.integers(0, 256, (2, channels, 16, 16))
    pixels[:, 0, 0, :2] = 0, 255
    found = corrupted(pixels.astype(np.float64), "jpeg", 4, rng)
    for image, got in zip(pixels.astype(np.uint8), found, strict=True):
        file = io.BytesIO()
        shown = image.transpose(1, 2, 0)
        Image.fromarray(shown[..., 0] if channels == 1 else shown).save(file, "JPEG", quality=10)
        wanted = np.asarray(Image.open(file)).reshape(16, 16, channels).transpose(2, 0, 1)
        np.testing.assert_allclose(got, wanted, atol=1e-9)
    np.testing.assert_allclose(corrupted(pixels / 51 - 2, "jpeg", 4, rng), found / 51 - 2, atol=1e-9)
    flat = np.full((1, channels, 8, 8), 3.5)
    np.testing.assert_array_equal(corrupted(flat, "jpeg", 1, rng), flat)


def test_accuracy_of_each_corruption(fake: Callable[..., Any], tmp_path: Path, rng: np.random.Generator) -> None:
    """A model that looks at the mean: it bears noise and blur, and brightness throws it off."""
    labels = np.arange(90) % 3
    x = (labels[:, None, None, None] + 0.2 * rng.random((90, 1, 8, 8))).astype(np.float32)

    def nearest(image: np.ndarray) -> dict[str, np.ndarray]:
        return {"y": -np.abs(image.mean(axis=(1, 2, 3))[:, None] - 0.1 - np.arange(3)).astype(np.float32)}

    params = Corrupt(data="d", batch=32, severities=(1, 5))
    ctx = fake(
        data=[(x[:50], labels[:50]), (x[50:], labels[50:])],
        subject=FakeRunner(nearest, image=(("batch", 1, 8, 8), "float32")),
    )
    assert predict_corrupted(ctx, tmp_path, params)["count"] == 90
    found = corruption(make_context(tmp_path / "m"), ctx.out, Corruption())
    kept = Predictions.read(ctx.out)
    assert set(found["per_class"]) == {f"{name}-{severity}" for name in CORRUPTIONS for severity in (1, 5)}
    shares = {name: accuracy_score(kept.labels, scores.argmax(1)) for name, scores in kept.outputs.items()}
    assert {name: row["correct"] / row["n"] for name, row in found["per_class"].items()} == pytest.approx(shares)
    assert found["value"] == pytest.approx(np.mean(list(shares.values())))
    assert found["rows"] == "corruption"
    assert shares["blur-5"] == 1
    np.testing.assert_array_equal(kept.labels, labels)
