"""The source ``images``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbuild_kit import is_unlabelled
from opened import opened, whole
from PIL import Image

from compressbuild.api import Rows, UserError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(10):
            pixels = rng.integers(0, 255, (20, 30, 3), np.uint8)
            pixels[:, :, 2] = number * 200
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
        (tmp_path / "photos" / name / "Thumbs.db").write_text("")
    return tmp_path


def test_a_class_for_each_directory(place: Path) -> None:
    inputs, labels = whole(opened(place, "images", images="photos", size=16))
    assert inputs.shape == (20, 3, 16, 16)
    assert inputs.dtype == np.float32
    assert sorted(labels) == [0] * 10 + [1] * 10
    assert list(labels) != sorted(labels), "one class after the other would calibrate on one class"
    np.testing.assert_allclose(inputs[:, 2].mean((1, 2)), labels * 200 / 255, atol=1e-6)
    inputs, labels = whole(opened(place, "images", images="photos", size=16, classes=["dog", "cat"]))
    np.testing.assert_allclose(inputs[:, 2].mean((1, 2)), (1 - labels) * 200 / 255, atol=1e-6)


def test_the_rest_of_a_split(place: Path) -> None:
    parts = [
        whole(opened(place, "images", Rows(sizes=(5,), part=part, seed=0), images="photos", size=8, dtype="uint8"))[0]
        for part in (0, None)
    ]
    both = {image.tobytes() for part in parts for image in part}
    assert [len(part) for part in parts] == [5, 15]
    assert len(both) == 20


def test_without_classes(place: Path) -> None:
    inputs, labels = whole(
        opened(place, "images", images="photos/cat", labels=False, size=[4, 6], layout="nhwc", channels="gray")
    )
    assert inputs.shape == (10, 4, 6, 1)
    assert is_unlabelled(labels)


def test_as_an_image_processor_does(place: Path) -> None:
    transformers = pytest.importorskip("transformers")
    processors = {
        "vit": transformers.ViTImageProcessorPil(size={"height": 12, "width": 12}),
        "clip": transformers.CLIPImageProcessorPil(size={"shortest_edge": 14}, crop_size={"height": 10, "width": 10}),
    }
    files = sorted((place / "photos" / "cat").glob("*.png"))
    for name, processor in processors.items():
        processor.save_pretrained(place / name)
        config = next(iter((place / name).glob("*processor_config.json")))
        assert "image_mean" in json.loads(config.read_text())
        expected = processor(images=[Image.open(file) for file in files], return_tensors="np")["pixel_values"]
        found, _ = whole(
            opened(place, "images", Rows(slices=((0, 10),), part=0), images="photos/cat", labels=False, processor=name)
        )
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("keys", "message", "hint"),
    [
        ({"images": "photos"}, "needs a 'size'", "size: 224"),
        ({"images": "photos/cat", "size": 8}, "has no directories, one for each class", "labels: false"),
        ({"images": "photos", "size": 8, "labels": False}, "'photos' has no images", "png"),
        ({"images": "photos", "size": 8, "classes": ["cat", "dgo"]}, "has no directory 'dgo'", "mean 'dog'?"),
        ({"images": "photos", "size": 8, "classes": ["cat"]}, "does not name the directory 'dog'", "all of them"),
        ({"images": "photos", "size": 8, "processor": "photos"}, "there is no 'preprocessor_config.json'", ""),
    ],
)
def test_what_is_wrong_is_named(place: Path, keys: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        opened(place, "images", **keys)
    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")


def test_a_broken_image(place: Path) -> None:
    (place / "photos" / "dog" / "3.png").write_bytes(b"\x89PNG no")
    with pytest.raises(UserError, match=r"'photos/dog/3.png' cannot be read as an image"):
        opened(place, "images", images="photos", size=8)
