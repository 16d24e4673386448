"""What the sources say that their samples are, for people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from opened import dataset
from PIL import Image

from compressbuild.api import Rows

PART = Rows(sizes=(3, 3), part=1)
"""Rows 3 to 5."""


def test_arrays_are_shown_as_stored(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "data.npz", pixels=pixels, y=np.arange(9))
    found = dataset(tmp_path, "npz", PART, npz="data.npz", labels="y", divide=255, mean=[0.5])
    first, second = found.preview([2, 0])
    order = PART.of(9)
    assert first.dtype == np.uint8
    assert (first == pixels[order[2]]).all()
    assert (second == pixels[order[0]]).all()
    assert next(iter(found))[1].tolist() == list(order)
    np.save(tmp_path / "x.npy", np.zeros((9, 4), np.float32))
    assert dataset(tmp_path, "npy", npy="x.npy").preview([0]) == [None]


def test_images_are_shown_as_they_are_cut(tmp_path: Path) -> None:
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photos" / "cat" / "0.png")
    (shown,) = dataset(tmp_path, "images", images="photos", size=8, mean=[0.5], std=[0.2]).preview([0])
    assert (shown == pixels).all()


@pytest.mark.parametrize("source", ["csv", "jsonl"])
def test_rows_are_shown_as_text(tmp_path: Path, source: str) -> None:
    (tmp_path / "t.csv").write_text("a,b,y\n" + "".join(f"one {i},two {i},{i}\n" for i in range(9)))
    (tmp_path / "t.jsonl").write_text("".join(f'{{"a": "one {i}", "b": "two {i}", "y": {i}}}\n' for i in range(9)))
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    words.enable_padding(pad_id=0, pad_token="[PAD]")
    words.save(str(tmp_path / "tokenizer.json"))
    keys = {source: f"t.{source}", "tokenizer": "tokenizer.json", "labels": "y", "length": 8}
    number = PART.of(9)[1]
    assert dataset(tmp_path, source, PART, **keys, text="b").preview([1]) == [f"two {number}"]
    assert dataset(tmp_path, source, PART, **keys, text=["a", "b"]).preview([1]) == [f"one {number}\ntwo {number}"]


def test_numbers_are_shown_with_their_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,y\n1,2.5,0\n3,4.5,1\n")
    found = dataset(tmp_path, "csv", csv="t.csv", inputs={"x": ["a", "b"]}, labels="y")
    assert found.preview([1]) == ["a: 3\nb: 4.5"]
