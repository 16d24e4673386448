"""The sources ``npz`` and ``npy``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbuild_kit import is_unlabelled
from opened import opened, whole

from compressbuild.api import Rows, UserError

PIXELS = np.arange(100 * 3 * 2 * 2, dtype=np.uint8).reshape(100, 3, 2, 2)
LABELS = np.arange(100)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", pixels=PIXELS, y=LABELS)
    np.savez(tmp_path / "two.npz", a=PIXELS, b=LABELS)
    np.savez(tmp_path / "uneven.npz", a=PIXELS, y=LABELS[:9])
    np.savez(tmp_path / "objects.npz", a=np.array([None, {}], object))
    np.savez(tmp_path / "number.npz", a=np.float32(1))
    np.save(tmp_path / "pixels.npy", PIXELS)
    np.save(tmp_path / "y.npy", LABELS)
    (tmp_path / "text.npz").write_text("no array")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "data.npz").read_bytes()[:200])
    return tmp_path


def test_the_only_array_is_the_only_input(place: Path) -> None:
    inputs, labels = whole(opened(place, "npz", npz="data.npz", labels="y"))
    assert inputs.dtype == np.uint8
    assert (inputs == PIXELS).all()
    assert (labels == LABELS).all()


def test_several_arrays_keep_their_names(place: Path) -> None:
    inputs, labels = whole(opened(place, "npz", npz="two.npz"))
    assert {name: array.shape for name, array in inputs.items()} == {"a": (100, 3, 2, 2), "b": (100,)}
    assert is_unlabelled(labels)
    assert len(labels) == 100


def test_inputs_by_another_name(place: Path) -> None:
    inputs, _ = whole(opened(place, "npz", npz="two.npz", inputs={"image": "a"}, labels="b"))
    assert list(inputs) == ["image"]


def test_numbers_are_scaled_along_the_channels(place: Path) -> None:
    keys: dict[str, Any] = {"divide": 255, "mean": [0.5, 0.25, 0], "std": [0.5, 1, 2]}
    inputs, _ = whole(opened(place, "npz", npz="data.npz", labels="y", **keys))
    mean, std = (np.array(keys[name]).reshape(1, 3, 1, 1) for name in ("mean", "std"))
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, (PIXELS / 255 - mean) / std, atol=1e-6)


def test_files_of_one_array_each(place: Path) -> None:
    inputs, labels = whole(opened(place, "npy", npy={"image": "pixels.npy"}, labels="y.npy", dtype="float32"))
    assert inputs["image"].dtype == np.float32
    assert (labels == LABELS).all()
    alone, none = whole(opened(place, "npy", npy="pixels.npy"))
    assert (alone == PIXELS).all()
    assert is_unlabelled(none)


def test_rows_of_a_part(place: Path) -> None:
    parts = [
        whole(opened(place, "npz", Rows(sizes=(0.2, 30), part=part, seed=0), npz="data.npz", labels="y"))
        for part in (0, 1, None)
    ]
    assert [len(labels) for _, labels in parts] == [20, 30, 50]
    assert sorted(np.concatenate([labels for _, labels in parts])) == list(range(100))
    assert all((inputs == PIXELS[labels]).all() for inputs, labels in parts)


@pytest.mark.parametrize(
    ("source", "keys", "message", "hint"),
    [
        (
            "npz",
            {"npz": "data.npz", "labels": "label"},
            "'labels' is to be array 'label', which",
            "its arrays: pixels, y",
        ),
        ("npz", {"npz": "data.npz", "inputs": {"x": "pixel"}}, "input 'x' is to be array 'pixel'", "mean 'pixels'?"),
        (
            "npz",
            {"npz": "uneven.npz", "labels": "y"},
            "'a' of 'uneven.npz' has 100 rows, but the labels 9",
            "'labels:'",
        ),
        ("npz", {"npz": "objects.npz"}, "an array of Python objects", "save numbers"),
        ("npz", {"npz": "number.npz"}, "is a single number", "first axis"),
        ("npz", {"npz": "text.npz"}, "'text.npz' is not a .npz file", "numpy.savez"),
        ("npz", {"npz": "cut.npz"}, "'cut.npz' ", ""),
        ("npz", {"npz": "pixels.npy"}, "is a single array", "npy: pixels.npy"),
        ("npy", {"npy": "data.npz"}, "holds several arrays", "npz: data.npz"),
        ("npz", {"npz": "two.npz", "divide": 255}, "for data of one input, and there are a, b", "inputs:"),
        ("npz", {"npz": "data.npz", "labels": "y", "mean": [1, 2]}, "'mean' has 2 numbers", "axis 1"),
    ],
)
def test_what_is_wrong_is_named(place: Path, source: str, keys: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        opened(place, source, **keys)
    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")


def test_a_part_that_is_too_large(place: Path) -> None:
    with pytest.raises(UserError, match=r"'data.npz' is too small for its 'split': its parts need 101 rows"):
        opened(place, "npz", Rows(sizes=(101,), part=0, seed=0), npz="data.npz", labels="y")
    with pytest.raises(UserError, match="leaves no rows here"):
        opened(place, "npz", Rows(sizes=(100,), seed=0), npz="data.npz", labels="y")
