"""What samples are, as pictures or text."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbuild_kit.previews import pictures, png, preview

from compressbuild.api import Previewing, UserError

Image = pytest.importorskip("PIL.Image", reason="needs the package pillow")
RNG = np.random.default_rng(0)


def read(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return np.asarray(image)


class World:
    """A context with one dataset."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def dataset(self, name: str) -> Any:
        assert name == "test"
        return self._dataset


def shown(dataset: Any, *samples: int) -> list[dict[str, Any]]:
    found = preview(World(dataset), Previewing(data="test", samples=samples))  # type: ignore[arg-type]
    assert [each["sample"] for each in found["samples"]] == list(samples)
    assert found["value"] == sum("image" in each or "text" in each for each in found["samples"])
    return list(found["samples"])


def image(sample: dict[str, Any]) -> np.ndarray:
    return read(base64.b64decode(sample["image"], validate=True))


COLOUR = RNG.integers(0, 256, (9, 3, 20, 31)).astype(np.uint8)


def test_bytes_are_kept_in_each_layout() -> None:
    one = COLOUR[0]
    assert (read(png(one)) == one.transpose(1, 2, 0)).all()
    assert (read(png(one.transpose(1, 2, 0))) == one.transpose(1, 2, 0)).all()
    assert (read(png(one[0])) == one[0]).all()
    assert (read(png(one[:1])) == one[0]).all()


def test_numbers_are_stretched_unless_they_lie_between_0_and_1() -> None:
    values = np.linspace(-2, 3, 64, dtype=np.float32).reshape(8, 8)
    assert (read(png(values))[[0, -1], [0, -1]] == (0, 255)).all()
    half = np.full((8, 8), 0.5, np.float32)
    half[0, 0] = 0.25
    assert set(read(png(half)).ravel()) == {64, 128}
    assert not read(png(np.full((8, 8), 7.0))).any()  # nothing to stretch
    assert read(png(np.full((8, 8), np.nan))).shape == (8, 8)


def test_large_ones_are_means_of_blocks_and_no_file_is_large() -> None:
    flat = np.zeros((3, 200, 300), np.uint8)
    flat[:, :100] = 200
    small = read(png(flat))
    assert small.shape == (50, 75, 3)
    assert (small[0, 0, 0], small[-1, -1, 0]) == (200, 0)
    edges = np.tile(np.array([[0, 100]], np.uint8), (192, 96))
    assert (read(png(edges)) == 50).all()
    noise = RNG.integers(0, 256, (3, 96, 96)).astype(np.uint8)
    assert len(png(noise)) <= 24_000
    assert read(png(noise)).shape < (96, 96, 3)


def test_the_first_input_of_the_shape_of_a_picture() -> None:
    ids, audio = np.zeros((2, 16), np.int64), np.zeros((2, 1, 16000), np.float32)
    assert pictures(ids) == [None, None]
    assert pictures((ids, audio)) == [None, None]
    (first, second) = pictures({"ids": ids, "image": COLOUR[:2]})
    assert (first == COLOUR[0]).all()
    assert (second == COLOUR[1]).all()
    assert pictures(np.zeros((1, 8, 8, 2))) == [None]


class Loader:
    """Batches of three, and how many were read."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for start in range(0, 9, 3):
            self.read += 1
            yield {"x": COLOUR[start : start + 3]}, np.arange(3)


def test_a_loader_is_read_as_far_as_is_needed() -> None:
    loader = Loader()
    found = shown(loader, 4, 1)
    assert (image(found[0]) == COLOUR[4].transpose(1, 2, 0)).all()
    assert (image(found[1]) == COLOUR[1].transpose(1, 2, 0)).all()
    assert loader.read == 2


class Sounds(Loader):
    def __init__(self, *values: Any) -> None:
        super().__init__()
        self.values = values

    def preview(self, numbers: list[int]) -> list[Any]:
        return [self.values[number] for number in numbers]


def test_a_dataset_may_say_itself() -> None:
    sounds = Sounds("a dog", None, COLOUR[0, 0], "x" * 700, " \n", np.array(["text"]), np.zeros((2, 2)))
    found = shown(sounds, 0, 1, 2, 3, 4, 5, 6)
    assert found[0] == {"sample": 0, "text": "a dog"}
    assert (image(found[2]) == COLOUR[0, 0]).all()
    assert found[3]["text"] == "x" * 599 + "…"
    assert [set(found[i]) for i in (1, 4, 5, 6)] == [{"sample"}] * 4
    assert sounds.read == 0


def test_text_that_is_no_unicode() -> None:
    assert shown(Sounds("a\ud800b"), 0)[0]["text"] == "a?b"


def test_another_number_of_values(tmp_path: Path) -> None:
    class Short(Loader):
        def preview(self, numbers: list[int]) -> list[Any]:
            return []

    with pytest.raises(UserError, match="gave 0 values for 1 samples"):
        shown(Short(), 3)
